import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { encodeTar, file, folder, hardlink } from "@zone/tar";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { RunningAgent } from "../testing/running-agent.js";
import { copyIn, copyOut, readAll, writeAll } from "./testing/client.js";

/**
 * A process in the root that keeps exchanging a directory, and a file, with links that lead out. Each call may succeed or fail;
 * none may read or change anything outside. Names inside are the same as outside, so that a call which got out would find them.
 */
const top = mkdtempSync(join(tmpdir(), "zone-race-"));
const root = join(top, "root");
const outside = join(top, "outside");
const ROUNDS = 1500;
let agent: RunningAgent;
let swapper: ChildProcess;

const SWAP = `
import ctypes, os, sys
libc = ctypes.CDLL(None)
def exchange(a, b):
  libc.renameat2(-100, a.encode(), -100, b.encode(), 2)
os.chdir(sys.argv[1])
print('ready', flush=True)
while True:
  exchange('dir', 'dir-link'); exchange('f', 'f-link'); exchange('up', 'dir')
  exchange('dir/sub', 'dir/sub-link'); exchange('up', 'dir')`;

beforeAll(async () => {
  mkdirSync(root);
  agent = await RunningAgent.start("", { ZONE_ROOT: root });
});
afterAll(async () => {
  const status = await agent?.stop();
  rmSync(top, { recursive: true, force: true });
  expect(status).toBe(0);
});

/** Everything outside: names, modes, owners, times, contents. */
function snapshot(): string {
  const list = execFileSync("find", [outside, "-printf", "%p %m %U %G %T@ %C@ %n %l\n"], { encoding: "utf8" });
  return list + readFileSync(join(outside, "f"), "utf8") + readFileSync(join(outside, "sub/f"), "utf8");
}

const make = `mkdir -p dir/sub up; echo inside > f; echo inside > dir/f; echo inside > dir/sub/f
  ln -sfn ${outside} dir-link; ln -sfn ${outside}/f f-link; ln -sfn ../../outside dir/sub-link; ln -sfn ../../outside up/sub
  ln -sfn ../outside/f up/f`;

beforeEach(async () => {
  mkdirSync(join(outside, "sub"), { recursive: true });
  for (const path of ["f", "sub/f"]) writeFileSync(join(outside, path), "SECRET");
  execFileSync("sh", ["-c", make], { cwd: root });
  swapper = spawn("python3", ["-c", SWAP, root], { stdio: ["ignore", "pipe", "ignore"] });
  if (swapper.stdout) await once(swapper.stdout, "data");
});
afterEach(async () => {
  const ended = once(swapper, "exit");
  swapper.kill("SIGKILL");
  await ended;
  for (const name of readdirSync(root)) rmSync(join(root, name), { recursive: true, force: true });
});

/** Runs `call` many times; says how often it succeeded, and fails when the outside has changed. */
async function race(call: (round: number) => Promise<unknown>, rounds = ROUNDS): Promise<number> {
  const before = snapshot();
  let succeeded = 0;
  for (let round = 0; round < rounds; round += 8) {
    const calls = Array.from({ length: 8 }, (_, index) => call(round + index).then(() => 1, refused));
    for (const count of await Promise.all(calls)) succeeded += count;
  }
  expect(snapshot()).toBe(before);
  return succeeded;
}

/** An error of the swapped names; anything else is a failure of the test. */
function refused(error: { reason?: string; message: string; metadata?: Record<string, string> }): number {
  const { reason = "", metadata } = error;
  const expected = ["FILE_NOT_FOUND", "NOT_A_DIRECTORY", "IS_A_DIRECTORY", "TOO_MANY_LINKS", "INVALID_ARCHIVE"];
  const ours = ["FILE_EXISTS", "DIRECTORY_NOT_EMPTY", "CROSS_DEVICE", "INVALID_PATH", "NOT_A_FILE"];
  // EAGAIN: openat2(2) gives up when it is raced all the time.
  if (![...expected, ...ours].includes(reason) && metadata?.errno !== "EAGAIN") throw error;
  return 0;
}

describe("while links are swapped in the root", { timeout: 300_000 }, () => {
  it("Read and Stat never see the outside", async () => {
    const paths = ["/f", "/dir/f", "/dir/sub/f", "/f-link", "/dir-link/f", "/up/f", "/up/sub/f"];
    const succeeded = await race(async (round) => {
      const path = paths[round % paths.length] ?? "";
      expect((await readAll(agent.files, { path })).toString()).toBe("inside\n");
      const { file } = await agent.files.stat({ path, follow: true });
      expect([6 /* SECRET */].includes(Number(file?.size))).toBe(false);
    });
    expect(succeeded).toBeGreaterThan(0);
  });

  it("Write never changes it", async () => {
    const paths = ["/f", "/dir/f", "/dir/new", "/dir/sub/f", "/f-link", "/dir-link/new", "/up/f"];
    const kinds = [{}, { append: true }, { offset: 0 }, { exclusive: true }];
    const succeeded = await race((round) =>
      writeAll(agent.files, { path: paths[round % paths.length] ?? "", ...kinds[round % 4], uid: 7, mode: 0o777 }, "x"),
    );
    expect(succeeded).toBeGreaterThan(0);
  });

  it("CopyIn never unpacks into it", async () => {
    const tar = encodeTar([
      folder("dir", { uid: 9, mode: 0o777 }),
      file("dir/sub/f", "mine", { uid: 9 }),
      file("dir/new", "mine"),
      hardlink("dir/hard", "f"),
      hardlink("h", "dir/sub/f"),
      file("f", "mine"),
    ]);
    const succeeded = await race((round) => copyIn(agent.files, { path: round % 3 ? "/" : "/dir" }, tar));
    expect(succeeded).toBeGreaterThan(0);
  });

  it("CopyOut never packs it", async () => {
    const succeeded = await race(async (round) => {
      const { tar } = await copyOut(agent.files, {
        path: ["/", "/dir", "/up"][round % 3] ?? "",
        follow: round % 2 === 0,
      });
      expect(tar.includes("SECRET")).toBe(false);
    });
    expect(succeeded).toBeGreaterThan(0);
  });

  it("Remove never empties it", async () => {
    const succeeded = await race(async (round) => {
      await agent.files.makeDirectory({ path: "/dir/sub/deep/er", parents: true, uid: 3 }).catch(refused);
      await agent.files.remove({ path: ["/dir", "/dir/sub", "/up"][round % 3] ?? "", recursive: true });
    });
    expect(succeeded).toBeGreaterThan(0);
  });

  it("nor do the others change it", async () => {
    const succeeded = await race(async (round) => {
      const path = ["/dir/sub/f", "/dir/f", "/f", "/up/sub/f"][round % 4] ?? "";
      await agent.files.setAttributes({ path, follow: round % 2 === 0, uid: 7, mode: 0o777 }).catch(linkMode);
      await agent.files.makeLink({ path: `/dir/l${round}`, target: path, hard: true });
      await agent.files.move({ from: `/dir/l${round}`, to: `/dir/sub/m${round}` });
    });
    expect(succeeded).toBeGreaterThan(0);
  });
});

function linkMode(error: { reason: string }): void {
  if (error.reason !== "INVALID_MODE") refused(error as never);
}
