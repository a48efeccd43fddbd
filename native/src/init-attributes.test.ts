import { existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { closeFd, dup, openPty } from "./descriptors.js";
import { SpawnError } from "./init-types.js";
import type { CapabilitySets } from "./spawn-types.js";
import { streamFromFd } from "./stream.js";
import { isRoot, TIMEOUT_MS } from "./testing/foreground.js";
import { ALL_CAPABILITIES, collect, InitUnderTest, specOf } from "./testing/init-under-test.js";

const CAP_CHOWN = 1n << 0n;
const CAP_NET_BIND = 1n << 10n;
const RLIMIT_NOFILE = 7;
const RLIMIT_CORE = 4;
/** Where this machine has cgroup2, also beside version 1. */
const CGROUP2 = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].find(
  (path) => existsSync(join(path, "cgroup.procs")) && existsSync(join(path, "cgroup.controllers")),
);

describe.skipIf(!isRoot)("what a process gets of its spec (needs root)", { timeout: TIMEOUT_MS }, () => {
  let init: InitUnderTest;
  let dir: string;
  beforeAll(async () => {
    init = await InitUnderTest.start();
    dir = mkdtempSync(join(tmpdir(), "zone-attributes-"));
  }, TIMEOUT_MS);
  afterAll(async () => {
    await init.stop();
    rmSync(dir, { recursive: true });
  }, TIMEOUT_MS);

  const status = async (more: Parameters<typeof specOf>[1]) => {
    const text = await init.shell("cat /proc/self/status", more);
    return (name: string) => new RegExp(`^${name}:\\s*(.*)$`, "m").exec(text)?.[1]?.trim();
  };
  const caps = (sets: Partial<CapabilitySets>): CapabilitySets => ({
    bounding: 0n,
    permitted: 0n,
    effective: 0n,
    inheritable: 0n,
    ambient: 0n,
    ...sets,
  });
  const bits = (hex: string | undefined) => BigInt(`0x${hex}`);
  const failure = (more: Parameters<typeof specOf>[1]) =>
    init.run(specOf(["true"], more)).then(
      () => undefined,
      (error: unknown) => (error instanceof SpawnError ? { stage: error.stage, code: error.code } : error),
    );

  it("uid, gid and groups, and no others", async () => {
    const get = await status({ uid: 1234, gid: 2345, groups: [7, 70_000] });
    expect(get("Uid")?.split(/\s+/)).toEqual(["1234", "1234", "1234", "1234"]);
    expect(get("Gid")?.split(/\s+/)).toEqual(["2345", "2345", "2345", "2345"]);
    expect(get("Groups")).toBe("7 70000");
  });

  it("no capability at all for another user, though the bounding set stays", async () => {
    const get = await status({
      uid: 1234,
      capabilities: caps({ bounding: CAP_CHOWN, permitted: CAP_CHOWN, effective: CAP_CHOWN }),
    });
    expect(bits(get("CapEff"))).toBe(0n);
    expect(bits(get("CapPrm"))).toBe(0n);
    expect(bits(get("CapBnd"))).toBe(CAP_CHOWN);
  });

  it("exactly its capabilities for root", async () => {
    const set = CAP_CHOWN | CAP_NET_BIND;
    const get = await status({ capabilities: caps({ bounding: set, permitted: set, effective: set }) });
    for (const name of ["CapEff", "CapPrm", "CapBnd"]) expect(bits(get(name)), name).toBe(set);
    expect(bits(get("CapInh"))).toBe(0n);
  });

  it("ambient capabilities for another user that is to keep them", async () => {
    const one = CAP_NET_BIND;
    const sets = { bounding: one, permitted: one, effective: one, inheritable: one, ambient: one };
    const get = await status({ uid: 1234, keepCapabilities: true, capabilities: sets });
    for (const name of ["CapEff", "CapPrm", "CapAmb", "CapInh"]) expect(bits(get(name)), name).toBe(one);
  });

  it("EPERM for an ambient capability that is not inheritable", async () => {
    const sets = caps({ bounding: ALL_CAPABILITIES, permitted: CAP_CHOWN, ambient: CAP_CHOWN });
    expect(await failure({ capabilities: sets })).toEqual({ stage: "caps", code: "EPERM" });
  });

  it("no_new_privs, or not", async () => {
    expect((await status({ noNewPrivileges: true }))("NoNewPrivs")).toBe("1");
    expect((await status({}))("NoNewPrivs")).toBe("0");
  });

  it("umask", async () => {
    expect(await init.shell("umask", { umask: 0o027 })).toBe("0027");
    expect(await init.shell("umask", { umask: 0 })).toBe("0000");
  });

  it("oom_score_adj", async () => {
    expect(await init.shell("cat /proc/self/oom_score_adj", { oomScoreAdj: 321 })).toBe("321");
  });

  it("resource limits, and 1024 open files without one", async () => {
    const rlimits = [
      { resource: RLIMIT_NOFILE, soft: 77n, hard: 99n },
      { resource: RLIMIT_CORE, soft: 0n, hard: 0n },
    ];
    expect(await init.shell("ulimit -n; ulimit -Hn; ulimit -c", { rlimits })).toBe("77\n99\n0");
    expect(await init.shell("ulimit -n")).toBe("1024");
    expect(await failure({ rlimits: [{ resource: 60, soft: 1n, hard: 1n }] })).toEqual({
      stage: "rlimit",
      code: "EINVAL",
    });
    expect(await failure({ rlimits: [{ resource: RLIMIT_NOFILE, soft: 9n, hard: 8n }] })).toEqual({
      stage: "rlimit",
      code: "EINVAL",
    });
  });

  it("its working directory, made by root when missing, for a user who could not", async () => {
    const cwd = join(dir, "a", "b c", "d");
    expect(await init.shell("pwd; stat -c '%a %u' .", { cwd, uid: 1234 })).toBe(`${cwd}\n755 0`);
    expect(await failure({ cwd: "/proc/nothing" })).toMatchObject({ stage: "cwd" });
    expect(await failure({ cwd: "/etc/passwd" })).toEqual({ stage: "cwd", code: "ENOTDIR" });
  });

  it("a session and group of its own, default signals, an empty mask", async () => {
    const { pid, stdout } = await init.run(specOf(["cat", "/proc/self/stat", "/proc/self/status"]));
    const text = stdout.toString();
    const [group, session] = text
      .slice(text.indexOf(")") + 2)
      .split(" ")
      .slice(2, 4);
    expect([group, session]).toEqual([String(pid), String(pid)]);
    expect(bits(/^SigBlk:\s*(\w+)$/m.exec(text)?.[1])).toBe(0n);
    expect(bits(/^SigIgn:\s*(\w+)$/m.exec(text)?.[1])).toBe(0n);
  });

  it("no descriptor but 0, 1 and 2", async () => {
    // 3 is the directory that ls itself reads.
    expect(await init.shell("ls /proc/self/fd")).toBe("0\n1\n2\n3");
  });

  it("a controlling terminal, with its size before the first byte", async () => {
    const { master, slave } = openPty(33, 111);
    const output = collect(streamFromFd(master, { readable: true, writable: false }));
    const token = init.token();
    const script = "stty size; tty; echo controlled > /dev/tty; ps -o tpgid= -p $$ | tr -d ' '";
    const stdio: [number, number, number] = [slave, dup(slave), dup(slave)];
    const { pid } = await init.client.spawn(token, specOf(["sh", "-c", script], { tty: true }), { stdio, kept: [] });
    const [size, tty, controlled, foreground] = (await output).toString().split("\r\n");
    expect(size).toBe("33 111");
    expect(tty).toMatch(/^\/dev\/pts\/\d+$/);
    expect(controlled).toBe("controlled");
    expect(foreground).toBe(String(pid));
    expect((await init.exitOf(token)).code).toBe(0);
  });

  it("ENOTTY when its stdin is no terminal", async () => {
    expect(await failure({ tty: true })).toEqual({ stage: "tty", code: "ENOTTY" });
  });

  it.skipIf(!CGROUP2)("its cgroup from the first instruction on (needs cgroup2)", async () => {
    const path = join(CGROUP2 ?? "", `zone-test-${process.pid}`);
    mkdirSync(path);
    const cgroup = openSync(path, "r");
    try {
      const { stdout } = await init.run(specOf(["cat", "/proc/self/cgroup"]), { cgroup });
      expect(stdout.toString()).toContain(`0::/zone-test-${process.pid}\n`);
      expect(readFileSync(join(path, "cgroup.procs"), "utf8")).toBe("");
    } finally {
      closeFd(cgroup);
      rmdirSync(path);
    }
  });
});
