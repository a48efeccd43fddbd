import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { bringOnline, countOfList } from "./online.js";

describe("bringOnline", () => {
  let folder: string;
  const never = new AbortController().signal;
  const paths = () => ({ system: folder, meminfo: join(folder, "meminfo") });
  const read = (name: string) => readFileSync(join(folder, name), "utf8");

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "zone-online-"));
    const files = {
      "cpu/online": "0\n",
      "cpu/cpu1/online": "0\n",
      "memory/memory0/state": "online\n",
      "memory/memory8/state": "offline\n",
      meminfo: "MemTotal:  1024 kB\n",
    };
    for (const [name, text] of Object.entries(files)) {
      mkdirSync(join(folder, name, ".."), { recursive: true });
      writeFileSync(join(folder, name), text);
    }
    mkdirSync(join(folder, "cpu/cpu0")); // the first one cannot be taken out of use
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it("brings cpus and memory into use", async () => {
    const now = await bringOnline({ cpus: 0, memoryTotalBytes: 0 }, 0, paths(), never);
    expect(now).toEqual({ cpus: 1, memoryTotalBytes: 1 << 20 });
    expect(read("cpu/cpu1/online")).toBe("1");
    expect(read("memory/memory8/state")).toBe("online_movable");
    expect(read("memory/memory0/state")).toBe("online\n");
  });

  it("waits for what is to come", async () => {
    const done = bringOnline({ cpus: 2, memoryTotalBytes: 0 }, 60_000, paths(), never);
    writeFileSync(join(folder, "cpu/online"), "0-1\n");
    expect((await done).cpus).toBe(2);
  });

  it("says what did not come", async () => {
    await expect(bringOnline({ cpus: 3, memoryTotalBytes: 2 << 20 }, 1, paths(), never)).rejects.toMatchObject({
      reason: "RESOURCES_NOT_THERE",
      message: "the zone did not get 3 cpus (1 are there) and 2 MiB of memory (1 are there) within 1 ms",
    });
  });

  it("ends with the call", async () => {
    const cancelled = new AbortController();
    const done = bringOnline({ cpus: 3, memoryTotalBytes: 0 }, 60_000, paths(), cancelled.signal);
    cancelled.abort();
    await expect(done).rejects.toMatchObject({ name: "AbortError" });
  });
});

it("lists of cpus are counted", () => {
  expect(["0", "0-3", "0-2,7", ""].map(countOfList)).toEqual([1, 4, 4, 0]);
});
