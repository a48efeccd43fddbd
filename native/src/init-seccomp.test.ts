import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { SECCOMP_FLAG } from "./spawn-types.js";
import { hasBusybox } from "./testing/container-root.js";
import { ContainerUnderTest } from "./testing/container-under-test.js";
import { isRoot, TIMEOUT_MS } from "./testing/foreground.js";
import { specOf } from "./testing/init-under-test.js";

const [EPERM, ENOSYS] = [1, 38];
const SIGSYS = 31;
const [RET_KILL_PROCESS, RET_ERRNO, RET_ALLOW] = [0x8000_0000, 0x0005_0000, 0x7fff_0000];
/** System calls of x86-64. */
const CALL = { mkdir: 83, mkdirat: 258, clone: 56, capset: 126 };

/** struct sock_filter: one instruction. */
function instruction(code: number, jumpTrue: number, jumpFalse: number, k: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeUInt16LE(code, 0);
  bytes.writeUInt8(jumpTrue, 2);
  bytes.writeUInt8(jumpFalse, 3);
  bytes.writeUInt32LE(k, 4);
  return bytes;
}

/** Answers `calls` with `action` and allows the rest. */
function filter(calls: number[], action: number): Buffer {
  const tests = calls.map((call, index) => instruction(0x15, calls.length - index, 0, call)); // BPF_JMP | BPF_JEQ
  const ends = [instruction(0x06, 0, 0, RET_ALLOW), instruction(0x06, 0, 0, action)]; // BPF_RET
  return Buffer.concat([instruction(0x20, 0, 0, 0), ...tests, ...ends]); // BPF_LD | BPF_W | BPF_ABS: the number
}

describe.skipIf(!isRoot || !hasBusybox || process.arch !== "x64")(
  "seccomp (needs root, busybox-static, x86-64)",
  { timeout: TIMEOUT_MS },
  () => {
    let box: ContainerUnderTest;
    beforeEach(async () => {
      box = await ContainerUnderTest.start();
    }, TIMEOUT_MS);
    afterEach(() => box.stop(), TIMEOUT_MS);

    const noMkdir = filter([CALL.mkdir, CALL.mkdirat], RET_ERRNO | ENOSYS);
    const script = "mkdir /tmp/x; grep -E '^(Seccomp|NoNewPrivs|CapEff):' /proc/self/status | tr '\\t' ' '";
    const none = { bounding: 0n, permitted: 0n, effective: 0n, inheritable: 0n, ambient: 0n };

    it("filters with and without no_new_privs, for root and for users, who keep no capability", async () => {
      for (const noNewPrivileges of [true, false]) {
        for (const more of [
          {},
          { capabilities: none },
          { uid: 1234, gid: 5 },
          { uid: 1234, capabilities: none, groups: [7] },
        ]) {
          const out = await box.sh(script, { seccomp: noMkdir, noNewPrivileges, ...more });
          expect(out).toMatch(/Function not implemented/);
          expect(out).toContain("Seccomp: 2");
          expect(out).toContain(`NoNewPrivs: ${noNewPrivileges ? 1 : 0}`);
          if ("uid" in more || "capabilities" in more) expect(out).toContain("CapEff: 0000000000000000");
        }
      }
    });

    it("filters an exec in a container, a process of the zone, and what a reaper starts", async () => {
      const { token } = await box.startSleeper();
      expect(await box.exec(token, script, { seccomp: noMkdir })).toContain("Function not implemented");
      expect(await box.exec(token, "mkdir /tmp/y && echo made")).toBe("made");
      expect(await box.init.shell("mkdir /tmp/zone-x 2>&1 || true", { seccomp: noMkdir })).toContain("not implemented");
      expect(await box.sh(script, { seccomp: noMkdir, reaper: true })).toContain("Seccomp: 2");
    });

    it("takes the flags of seccomp(2)", async () => {
      const seccompFlags = SECCOMP_FLAG.LOG | SECCOMP_FLAG.SPEC_ALLOW;
      expect(await box.sh(script, { seccomp: noMkdir, seccompFlags })).toContain("Seccomp: 2");
    });

    it("kills when the filter says so", async () => {
      const { exit } = await box.init.run(
        box.spec(["mkdir", "/tmp/x"], { seccomp: filter([CALL.mkdir, CALL.mkdirat], RET_KILL_PROCESS) }),
      );
      expect(exit.signal).toBe(SIGSYS);
    });

    it("says EINVAL for a program that is none", async () => {
      const bad = { stage: "seccomp", code: "EINVAL" };
      for (const noNewPrivileges of [true, false]) {
        for (const bytes of [
          Buffer.alloc(8),
          Buffer.alloc(8, 0xff),
          filter([], RET_ALLOW).subarray(0, 8),
          Buffer.alloc(8 * 4096),
        ])
          expect(await box.failure(box.spec(["true"], { seccomp: bytes, noNewPrivileges }))).toEqual(bad);
      }
      expect(await box.init.shell("echo fine")).toBe("fine");
    });

    it("says which step a filter forbids", async () => {
      const noClone = filter([CALL.clone], RET_ERRNO | EPERM);
      expect(await box.failure(specOf(["true"], { seccomp: noClone, reaper: true }))).toEqual({
        stage: "reaper",
        code: "EPERM",
      });
      const noCapset = filter([CALL.capset], RET_ERRNO | EPERM);
      expect(await box.failure(specOf(["true"], { seccomp: noCapset }))).toEqual({ stage: "caps", code: "EPERM" });
      expect(await box.failure(specOf(["true"], { seccomp: noCapset, noNewPrivileges: true }))).toBeUndefined();
    });
  },
);
