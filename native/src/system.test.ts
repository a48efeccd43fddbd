import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { addon, POLL_READABLE } from "./addon.js";
import { closeFd } from "./descriptors.js";
import { adjustClock, loadModule, MAX_SLEW_MS, openPidFd } from "./system.js";
import { caught } from "./testing/caught.js";

const isRoot = process.getuid?.() === 0;

describe("the system", { timeout: 60_000 }, () => {
  let dir: string;
  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), "zone-system-"));
  });
  afterAll(() => rmSync(dir, { recursive: true }));

  it("has a descriptor of a process that tells its end", async () => {
    const child = spawn("sleep", ["1000"]);
    await once(child, "spawn");
    const fd = openPidFd(child.pid ?? 0);
    const ended = new Promise<void>((resolve, reject) => {
      const poll = addon().pollStart(fd, POLL_READABLE, (error) => {
        addon().pollStop(poll);
        error ? reject(error) : resolve();
      });
    });
    child.kill("SIGKILL");
    await ended;
    closeFd(fd);
    expect(caught(() => openPidFd(0))).toMatchObject({ code: "EINVAL", syscall: "pidfd_open" });
    expect(caught(() => openPidFd(4_194_304))).toMatchObject({ syscall: "pidfd_open" });
  });

  it("loads no module that is none", () => {
    const path = join(dir, "none.ko");
    expect(caught(() => loadModule(path))).toMatchObject({ code: "ENOENT", syscall: "open", path });
    writeFileSync(path, "not a module");
    expect(caught(() => loadModule(path))).toMatchObject({
      code: expect.stringMatching(/^(ENOEXEC|EPERM|ENOSYS)$/),
      syscall: "finit_module",
      path,
    });
  });

  it.skipIf(!isRoot)("slews its clock by little, and only by little (needs root)", () => {
    adjustClock(0.25);
    adjustClock(-0.25);
    adjustClock(0);
    for (const bad of [MAX_SLEW_MS + 1, -MAX_SLEW_MS - 1, Number.NaN, Number.POSITIVE_INFINITY])
      expect(caught(() => adjustClock(bad))).toMatchObject({ code: "EINVAL", syscall: "adjtimex" });
  });
});
