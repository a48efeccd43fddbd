import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync } from "node:fs";
import { mkdtemp, open, readFile, rm } from "node:fs/promises";
import { createConnection } from "node:net";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Identities } from "./identities.js";
import { adoptVmm, FIRST_FD, spawnVmm, startTimeOf } from "./qemu-process.js";
import { StateReceiver } from "./state-receiver.js";

const root = process.getuid?.() === 0;
const BASE = 0x5f000000;
let directory: string;
beforeEach(async () => {
  directory = await mkdtemp("/tmp/zone-vmm-");
});
afterEach(() => rm(directory, { recursive: true, force: true }));

/** Runs a shell in place of QEMU, with its output in a file. */
async function run(script: string, more: { files?: number[]; identity?: { uid: number; gid: number } } = {}) {
  const log = await open(join(directory, "log"), "w");
  const args = ["-c", script];
  const options = {
    binary: "/bin/sh",
    args,
    directory,
    logFd: log.fd,
    files: more.files ?? [],
    identity: more.identity,
  };
  const vmm = await spawnVmm(options);
  await log.close();
  return vmm;
}

const output = () => readFile(join(directory, "log"), "utf8");

describe("spawnVmm", () => {
  it("gives it its files from descriptor 3 on, its folder, and next to no environment", async () => {
    const fd = openSync("/proc/self/status", "r");
    const vmm = await run(`pwd; readlink /proc/self/fd/${FIRST_FD}; env | grep -c . ; echo err >&2`, { files: [fd] });
    closeSync(fd);
    expect(await vmm.exited()).toEqual({ code: 0, signal: null });
    const lines = (await output()).trim().split("\n");
    expect(lines.slice(0, 2)).toEqual([directory, expect.stringMatching(/^\/proc\/\d+\/status$/)]);
    expect(Number(lines[2])).toBeLessThanOrEqual(4);
    expect(lines[3]).toBe("err");
  });

  it.runIf(root)("runs it as another user without groups", async () => {
    const vmm = await run("id -u; id -G", { identity: { uid: BASE, gid: BASE } });
    await vmm.exited();
    expect(await output()).toBe(`${BASE}\n${BASE}\n`);
  });

  it("names what is missing", async () => {
    const made = spawnVmm({ binary: "no-such-vmm", args: [], directory, logFd: 1, files: [], identity: undefined });
    await expect(made).rejects.toMatchObject({
      reason: "NO_HYPERVISOR",
      message: expect.stringContaining("apt-get install"),
    });
  });

  it("kills it, and tells by what it ended; a second time is nothing", async () => {
    const vmm = await run("exec sleep 1000");
    await vmm.kill();
    expect(await vmm.exited()).toEqual({ code: null, signal: "SIGKILL" });
    await vmm.kill();
    expect(await startTimeOf(vmm.pid)).toBeUndefined();
  });
});

describe("adoptVmm", () => {
  it("takes a process for itself only with its start time", async () => {
    const child = spawn("sleep", ["1000"], { stdio: "ignore" });
    const pid = child.pid ?? 0;
    const startTime = (await startTimeOf(pid)) ?? "";
    expect(await adoptVmm(pid, `${Number(startTime) + 1}`)).toBeUndefined();
    const vmm = await adoptVmm(pid, startTime);
    const exited = once(child, "exit");
    await vmm?.kill();
    expect(await vmm?.exited()).toBeUndefined();
    await exited;
    expect(await adoptVmm(pid, startTime)).toBeUndefined();
  });

  it("reads the start time of a process with any name", async () => {
    const child = spawn("/bin/sh", ["-c", "printf ') R 1 2 (' > /proc/self/comm; read wait"], {
      stdio: ["pipe", "ignore", "ignore"],
    });
    const before = await startTimeOf(child.pid ?? 0);
    expect(before).toMatch(/^\d+$/);
    child.stdin.end();
    await once(child, "exit");
  });
});

describe("Identities", () => {
  it("gives out no user twice, nor one that something runs as", async () => {
    const identities = new Identities(BASE);
    const taken = await Promise.all(Array.from({ length: 50 }, () => identities.take()));
    expect(new Set(taken.map(({ uid }) => uid)).size).toBe(50);
    for (const { uid, gid } of taken) expect([gid, uid >= BASE && uid < BASE + 0x10000]).toEqual([uid, true]);
  });
});

describe("StateReceiver", () => {
  it("takes a stream whole, and refuses one that is too long", async () => {
    for (const [count, outcome] of [
      [1000, "ok"],
      [1001, "refused"],
    ] as const) {
      const path = join(directory, `${count}.sock`);
      const receiver = await StateReceiver.listen(path, 1000, undefined);
      const sender = createConnection(path).on("error", () => {}); // it may be refused
      sender.end(Buffer.alloc(count));
      const result = receiver.received.then(
        ({ length }) => (length === count ? "ok" : "short"),
        () => "refused",
      );
      expect(await result).toBe(outcome);
      receiver.close();
    }
  });
});
