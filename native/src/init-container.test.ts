import {
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  readlinkSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { closeFd } from "./descriptors.js";
import { SpawnError } from "./init-types.js";
import type { SpawnSpec } from "./spawn-types.js";
import { ContainerRoot, hasBusybox } from "./testing/container-root.js";
import { isRoot, TIMEOUT_MS } from "./testing/foreground.js";
import { InitUnderTest, specOf } from "./testing/init-under-test.js";

const SIGKILL = 9;
const OWN = ["pid", "mnt", "uts", "ipc", "cgroup"] as const;
const SHARED = ["net", "user", "time"] as const;
const CGROUP2 = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].find((path) =>
  existsSync(join(path, "cgroup.controllers")),
);

const namespace = (pid: number | "self", name: string) => readlinkSync(`/proc/${pid}/ns/${name}`);

describe.skipIf(!isRoot || !hasBusybox)("containers (need root and busybox-static)", { timeout: TIMEOUT_MS }, () => {
  let init: InitUnderTest;
  let root: ContainerRoot;
  beforeEach(async () => {
    init = await InitUnderTest.start();
    root = new ContainerRoot();
  }, TIMEOUT_MS);
  afterEach(async () => {
    await init.stop();
    root.remove();
  }, TIMEOUT_MS);

  const container = (argv: string[], more: Partial<SpawnSpec> = {}) =>
    specOf(argv, { newContainer: true, root: root.path, env: ["PATH=/bin"], ...more });
  const runIn = async (script: string, more: Partial<SpawnSpec> = {}) => {
    const { stdout, stderr, exit } = await init.run(container(["sh", "-c", script], more));
    return { out: stdout.toString().replace(/\n$/, ""), err: stderr.toString(), exit };
  };
  const failure = (spec: SpawnSpec) =>
    init.run(spec).then(
      () => undefined,
      (error: unknown) => (error instanceof SpawnError ? { stage: error.stage, code: error.code } : error),
    );

  it("have namespaces of their own, but the zone's network, users and clocks", async () => {
    const { pid } = await init.startQuiet(container(["sleep", "1000"]));
    for (const name of OWN) expect(namespace(pid, name), name).not.toBe(namespace("self", name));
    for (const name of SHARED) expect(namespace(pid, name), name).toBe(namespace("self", name));
  });

  it("start as process 1, in their root, with their host name and the default working directory", async () => {
    const { out } = await runIn("echo $$; hostname; cat /etc/marker; pwd; ls -d /*", { hostname: "box" });
    expect(out).toBe("1\nbox\ninside\n/\n/bin\n/dev\n/etc\n/proc\n/sys\n/tmp");
    expect(readFileSync("/proc/sys/kernel/hostname", "utf8")).not.toBe("box\n");
  });

  it("see no mount of outside, and leave none there", async () => {
    const before = readFileSync("/proc/self/mountinfo", "utf8");
    const { out } = await runIn("cat /proc/self/mounts");
    expect(
      out
        .split("\n")
        .map((line) => line.split(" ")[1])
        .sort()[0],
    ).toBe("/");
    expect(out).not.toContain(root.path);
    expect(out).toMatch(/^proc \/proc proc rw,nosuid,nodev,noexec/m);
    expect(readFileSync("/proc/self/mountinfo", "utf8")).toBe(before);
  });

  it("have Docker's masked and read-only paths", async () => {
    const script = [
      "[ ! -e /proc/kcore ] || wc -c < /proc/kcore",
      "[ ! -e /proc/keys ] || wc -c < /proc/keys",
      "[ ! -d /sys/firmware ] || ls /sys/firmware",
      "for f in /proc/sys/kernel/domainname /proc/sysrq-trigger /proc/irq/default_smp_affinity; do [ ! -e $f ] || (echo x > $f) 2>&1; done",
    ].join("\n");
    const lines = (await runIn(script)).out.split("\n").map((line) => line.trim());
    const denied = lines.filter((line) => line !== "0");
    expect(denied.length).toBeGreaterThan(0);
    for (const line of denied) expect(line).toContain("Read-only file system");
    const masks = (await runIn("cat /proc/self/mounts")).out;
    if (existsSync("/proc/kcore")) expect(masks).toMatch(/^\S+ \/proc\/kcore /m);
  });

  it("may have other masked and read-only paths, or none", async () => {
    const script = "cat /etc/marker; touch /bin/new && echo writable; ls /tmp; cat /proc/self/mounts";
    writeFileSync(join(root.path, "tmp/secret"), "");
    const lists = { maskedPaths: ["/etc/marker", "/tmp", "/no/such"], readonlyPaths: ["/bin", "/no/such"] };
    const { out, err } = await runIn(script, lists);
    expect(out).not.toMatch(/inside|writable|secret|\/proc\/sys |\/proc\/keys/);
    expect(err).toContain("Read-only file system");
    const none = await runIn(script, { maskedPaths: [], readonlyPaths: [] });
    expect(none.out).toMatch(/^inside\nwritable\nsecret\n/);
    expect(none.out).not.toMatch(/\/proc\/sys |\/proc\/keys/);
    const half = await runIn(script, { maskedPaths: [] });
    expect(half.out).toMatch(/\/proc\/sys /);
    expect(half.out).not.toMatch(/\/sys\/firmware /);
  });

  it("follow no link of an image to what is masked or read-only outside", async () => {
    symlinkSync("../../../../../../etc/hostname", join(root.path, "etc/link"));
    symlinkSync("../../../../../../usr", join(root.path, "usr"));
    symlinkSync("loop", join(root.path, "loop"));
    const before = readFileSync("/proc/self/mountinfo", "utf8");
    await runIn("true", { maskedPaths: ["/etc/link", "/usr/bin"], readonlyPaths: ["/usr/lib", "/loop"] });
    expect(readFileSync("/proc/self/mountinfo", "utf8")).toBe(before);
  });

  it("may be privileged: /sys is writable, and nothing masked", async () => {
    const script = "cat /proc/self/mounts; ls /dev/console 2>&1";
    const { out } = await runIn(script, { privileged: true });
    expect(out).toMatch(/^sysfs \/sys sysfs rw,/m);
    expect(out).not.toMatch(/ ro,/);
    expect(out).not.toMatch(/\/proc\/(sys|keys|kcore|bus) /);
    if (existsSync("/sys/fs/cgroup")) expect(out).toMatch(/^cgroup2 \/sys\/fs\/cgroup cgroup2 rw,/m);
    expect((await runIn(script)).out).toMatch(/^sysfs \/sys sysfs ro,/m);
    const listed = await runIn(script, { privileged: true, maskedPaths: ["/sys/firmware"] });
    expect(listed.out).toMatch(/\/sys\/firmware /);
  });

  it("have /dev/mqueue of their own where there is a place for it", async () => {
    expect((await runIn("grep mqueue /proc/self/mounts")).out).toBe("");
    mkdirSync(join(root.path, "dev/mqueue"));
    expect((await runIn("grep mqueue /proc/self/mounts")).out).toMatch(
      /^mqueue \/dev\/mqueue mqueue rw,nosuid,nodev,noexec/,
    );
  });

  it("may have a read-only root, with its own mounts writable", async () => {
    const { out } = await runIn("touch /file 2>&1; touch /dev/file && echo dev; pwd", {
      readonlyRoot: true,
      cwd: "/made/for/it",
    });
    expect(out).toMatch(/Read-only file system\ndev\n\/made\/for\/it$/);
    expect(existsSync(join(root.path, "made/for/it"))).toBe(true);
  });

  it("are joined by later processes: same namespaces, root and processes", async () => {
    const first = await init.startQuiet(container(["sleep", "1000"], { hostname: "box" }));
    const joined = await init.startQuiet(specOf(["sleep", "1000"], { join: first.token, env: ["PATH=/bin"] }));
    for (const name of [...OWN, ...SHARED]) expect(namespace(joined.pid, name), name).toBe(namespace(first.pid, name));
    expect(namespace(joined.pid, "pid_for_children")).toBe(namespace(first.pid, "pid"));
    const script = "hostname; cat /etc/marker; cat /proc/1/comm; ls -d /proc/[0-9]* | wc -l; ls /proc/self/fd | wc -l";
    const { stdout, exit } = await init.run(specOf(["sh", "-c", script], { join: first.token, env: ["PATH=/bin"] }));
    // Processes: the first, the joined, this shell, and ls and wc. Descriptors: 0, 1, 2 and the directory.
    expect(stdout.toString().split("\n")).toMatchObject([
      "box",
      "inside",
      "sleep",
      expect.stringMatching(/^[345]$/),
      "4",
      "",
    ]);
    expect(exit.code).toBe(0);
    // PID 1 is back in its own.
    const { pid } = await init.startQuiet(specOf(["sleep", "1000"]));
    expect(namespace(pid, "pid")).toBe(namespace("self", "pid"));
  });

  it("end all their processes with the first, and cannot be joined any more", async () => {
    const first = await init.startQuiet(container(["sleep", "1000"]));
    const join = { join: first.token, env: ["PATH=/bin"] };
    const joined = await init.startQuiet(specOf(["sleep", "1000"], join));
    init.client.kill(first.token, SIGKILL);
    expect((await init.exitOf(joined.token)).signal).toBe(SIGKILL);
    await init.exitOf(first.token);
    expect(await failure(specOf(["true"], join))).toEqual({ stage: "join", code: "ESRCH" });
    expect(await failure(specOf(["true"], { join: 999n }))).toEqual({ stage: "join", code: "ESRCH" });
  });

  it("cannot be joined through a process that is dying unreaped", async () => {
    // A zombie of ours cannot be held unreaped: its end and the join race, and both outcomes must be clean.
    for (let i = 0; i < 30; i++) {
      const first = await init.startQuiet(container(["sleep", "1000"]));
      process.kill(first.pid, "SIGKILL");
      const outcome = await failure(specOf(["true"], { join: first.token, env: ["PATH=/bin"] }));
      expect([undefined, "ESRCH", "ENOENT"]).toContain((outcome as { code?: string } | undefined)?.code);
      await init.exitOf(first.token);
    }
    expect(await init.shell("echo fine")).toBe("fine");
  });

  it("report exec's failure inside as well as outside", async () => {
    expect(await failure(container(["no-such-program"]))).toEqual({ stage: "exec", code: "ENOENT" });
    const first = await init.startQuiet(container(["sleep", "1000"]));
    expect(await failure(specOf(["ps-not"], { join: first.token }))).toEqual({ stage: "exec", code: "ENOENT" });
  });

  it("need a root that is a mount point", async () => {
    expect(await failure(container(["true"], { root: join(root.path, "tmp") }))).toEqual({
      stage: "mount",
      code: "EINVAL",
    });
    expect(await failure(container(["true"], { root: "/no/such/root" }))).toEqual({ stage: "mount", code: "ENOENT" });
  });

  it("mount nothing on a symbolic link that an image brings, and hide nothing behind a false /dev/null", async () => {
    rmdirSync(join(root.path, "proc"));
    symlinkSync("/etc", join(root.path, "proc"));
    expect(await failure(container(["true"]))).toEqual({ stage: "mount", code: "ENOTDIR" });
    rmSync(join(root.path, "proc"));
    rmSync(join(root.path, "dev/null"));
    writeFileSync(join(root.path, "dev/null"), "secret");
    expect(await failure(container(["true"]))).toEqual({ stage: "mount", code: "ENODEV" });
  });

  it.skipIf(!CGROUP2)("see their cgroup as the root of all (needs cgroup2)", async () => {
    const path = join(CGROUP2 ?? "", `zone-container-${process.pid}`);
    mkdirSync(path);
    const cgroup = openSync(path, "r");
    try {
      const spec = container([
        "sh",
        "-c",
        "cat /proc/self/cgroup; ls /sys/fs/cgroup/cgroup.procs; cat /sys/fs/cgroup/cgroup.procs",
      ]);
      const { stdout } = await init.run(spec, { cgroup });
      const lines = stdout.toString().split("\n");
      expect(lines).toContain("0::/");
      expect(lines).toContain("/sys/fs/cgroup/cgroup.procs");
      expect(lines).toContain("1");
    } finally {
      closeFd(cgroup);
      rmdirSync(path);
    }
  });
});
