import { type FSWatcher, mkdirSync, mkdtempSync, rmSync, watch, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { OomLog } from "./oom-log.js";
import { type CgroupNews, CgroupWatcher, whenCgroupIs } from "./watcher.js";

vi.mock("node:fs", async (original) => {
  const fs = await original<typeof import("node:fs")>();
  return { ...fs, watch: vi.fn(fs.watch) };
});

/** As fs.watch throws when the user's instances or watches of inotify are used up. */
function usedUp(code: "EMFILE" | "ENOSPC"): void {
  vi.mocked(watch).mockImplementation((): FSWatcher => {
    throw Object.assign(new Error(`${code}: watch`), { code });
  });
}

let root: string;
const events = (text: string) => writeFileSync(join(root, "web", "cgroup.events"), text);
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "zone-watch-"));
  mkdirSync(join(root, "web"));
  events("populated 0\nfrozen 0\n");
});
afterEach(() => {
  vi.mocked(watch).mockReset();
  rmSync(root, { recursive: true });
});

describe.each(["EMFILE", "ENOSPC"] as const)("without inotify (%s)", (code) => {
  beforeEach(() => usedUp(code));

  it("a cgroup that is to be watched has no events, which is said once", () => {
    const trouble: string[] = [];
    const news: CgroupNews[] = [];
    const log = new OomLog(join(root, "no-kmsg"));
    const watcher = new CgroupWatcher(
      root,
      log,
      (each) => news.push(each),
      (message) => trouble.push(message),
    );
    watcher.watch("web");
    expect(trouble).toEqual([expect.stringMatching(`cgroup "web" has no events: .*${code}`)]);
    events("populated 1\nfrozen 0\n");
    watcher.look("web");
    expect(news).toEqual([{ path: "web", populated: { populated: true } }]);
    watcher.forget("web");
    watcher.close();
  });

  it("a state is waited for by looking", async () => {
    const frozen = whenCgroupIs(join(root, "web"), "frozen", true, AbortSignal.timeout(10_000));
    await setTimeout(50);
    events("populated 1\nfrozen 1\n");
    await frozen;
  });

  it("waiting ends with its signal", async () => {
    const abort = new AbortController();
    const frozen = whenCgroupIs(join(root, "web"), "frozen", true, abort.signal);
    abort.abort(new Error("cancelled"));
    await expect(frozen).rejects.toThrow("cancelled");
  });
});

it("a state is waited for by inotify", async () => {
  const frozen = whenCgroupIs(join(root, "web"), "frozen", true, AbortSignal.timeout(10_000));
  expect(watch).toHaveBeenCalledOnce();
  events("populated 1\nfrozen 1\n");
  await frozen;
});
