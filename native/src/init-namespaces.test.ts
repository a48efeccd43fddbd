import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { CONTAINER_NAMESPACES, NAMESPACES, type Namespace } from "./spawn-types.js";
import { MNT_DETACH, MS, mount, unmount } from "./system.js";
import { hasBusybox } from "./testing/container-root.js";
import { ContainerUnderTest, childrenOf, eventually, namespaceOf } from "./testing/container-under-test.js";
import { isRoot, TIMEOUT_MS, ZONE_INIT } from "./testing/foreground.js";
import { specOf } from "./testing/init-under-test.js";

const SIGTERM = 15;
const SIGKILL = 9;

describe.skipIf(!isRoot || !hasBusybox)("namespaces (need root and busybox-static)", { timeout: TIMEOUT_MS }, () => {
  let box: ContainerUnderTest;
  beforeEach(async () => {
    box = await ContainerUnderTest.start();
  }, TIMEOUT_MS);
  afterEach(() => box.stop(), TIMEOUT_MS);

  const fileOf = (name: Namespace) => (name === "mount" ? "mnt" : name);
  /** Those of `pid` that are those of `other`. */
  const shared = (pid: number, other: number | "self" = "self") =>
    NAMESPACES.filter((name) => namespaceOf(pid, fileOf(name)) === namespaceOf(other, fileOf(name)));
  /** What holds a pod's namespaces. */
  const startPod = () =>
    box.init.startQuiet(
      specOf([ZONE_INIT, "--pause"], { hostname: "pod", namespaces: { create: ["pid", "ipc", "uts"] } }),
    );
  const inPod = (token: bigint) =>
    ({ create: ["mount", "cgroup"], join: { token, which: ["pid", "ipc", "uts"] } }) as const;

  it.each<[string, readonly Namespace[]]>([
    ["the usual ones", CONTAINER_NAMESPACES],
    ["a mount namespace alone", ["mount"]],
    ["no pid namespace", ["mount", "uts", "net"]],
    ["all", NAMESPACES],
  ])("are made as the spec says: %s", async (_, create) => {
    const { pid } = await box.startSleeper({ namespaces: { create } });
    expect(shared(pid)).toEqual(NAMESPACES.filter((name) => !create.includes(name)));
  });

  it("are made for a process of the zone itself, too", async () => {
    const out = await box.init.shell("hostname; cat /etc/hostname >/dev/null; echo $$", {
      hostname: "alone",
      namespaces: { create: ["uts", "pid"] },
    });
    expect(out).toBe("alone\n1");
    expect(readFileSync("/proc/sys/kernel/hostname", "utf8")).not.toBe("alone\n");
    const before = readFileSync("/proc/self/mountinfo", "utf8");
    await box.init.shell("mount -t tmpfs none /tmp", { namespaces: { create: ["mount"] } });
    expect(readFileSync("/proc/self/mountinfo", "utf8")).toBe(before);
  });

  it("of the network have nothing but a loopback interface, which is up", async () => {
    const out = await box.sh("ip -o addr", { namespaces: { create: ["mount", "net"] } });
    expect(out).toContain("inet 127.0.0.1/8");
    expect(out.split("\n").every((line) => / lo /.test(line))).toBe(true);
  });

  it("of users map all ids, and give no power outside", async () => {
    const namespaces = { create: NAMESPACES };
    const script =
      "cat /proc/self/uid_map /proc/self/gid_map; id -u; echo $$; mount -t tmpfs none /tmp && echo mounted; ls /proc/self/fd | wc -l";
    const lines = (await box.sh(script, { namespaces })).split("\n").map((line) => line.trim().split(/\s+/).join(" "));
    expect(lines).toEqual(["0 0 4294967295", "0 0 4294967295", "0", "1", "mounted", "4"]);
    const { token } = await box.startSleeper({ namespaces, hostname: "mapped" });
    const denied = await box.exec(token, "echo 1 > /proc/sys/kernel/printk; hostname; id -u", {});
    expect(denied).toMatch(/^mapped\n0\n/);
    expect(denied).toMatch(/Permission denied|Read-only file system/);
    expect(await box.sh("id -u; id -G", { namespaces, uid: 1234, gid: 5, groups: [7] })).toBe("1234\n5 7");
  });

  it("are all joined by an exec, network and users included", async () => {
    for (const create of [CONTAINER_NAMESPACES, NAMESPACES, ["mount"] as const]) {
      const first = await box.startSleeper({ namespaces: { create } });
      const joined = await box.init.startQuiet(specOf(["sleep", "1000"], { join: first.token, env: ["PATH=/bin"] }));
      expect(shared(joined.pid, first.pid)).toEqual(NAMESPACES);
      expect(await box.exec(first.token, "cat /etc/marker; ls /proc/self/fd | wc -l")).toBe("inside\n4");
    }
    // PID 1 is back in its own.
    const { pid } = await box.init.startQuiet(specOf(["sleep", "1000"]));
    expect(shared(pid)).toEqual(NAMESPACES);
  });

  it("of a pod are shared by its containers, which have roots and cgroup views of their own", async () => {
    const pod = await startPod();
    const web = await box.startSleeper({ namespaces: inPod(pod.token) });
    const db = await box.startSleeper({ namespaces: inPod(pod.token) });
    expect(shared(web.pid, db.pid)).toEqual(["pid", "uts", "ipc", "net", "user"]);
    expect(shared(web.pid, pod.pid)).toEqual(["pid", "uts", "ipc", "net", "user"]);
    const out = await box.exec(
      web.token,
      "hostname; cat /etc/marker; cat /proc/1/cmdline | tr '\\0' ' '; ps | grep -c 'sleep 100[0]'",
    );
    expect(out).toBe(`pod\ninside\n${ZONE_INIT} --pause 2`);
    // One container ends; the others do not.
    box.init.client.kill(web.token, SIGTERM);
    expect((await box.init.exitOf(web.token)).signal).toBe(SIGTERM);
    expect(existsSync(`/proc/${db.pid}`)).toBe(true);
    // The pod ends with the process that holds it.
    box.init.client.kill(pod.token, SIGKILL);
    expect((await box.init.exitOf(db.token)).signal).toBe(SIGKILL);
    await box.init.exitOf(pod.token);
    expect(await box.failure(box.spec(["true"], { namespaces: inPod(pod.token) }))).toEqual({
      stage: "join",
      code: "ESRCH",
    });
  });

  it("of a pod are held by a process that reaps, and ends on SIGTERM", async () => {
    const pod = await startPod();
    await box.sh("for i in 1 2 3 4 5; do (sleep 0.05 &) ; done; echo $$", { namespaces: inPod(pod.token) });
    await eventually(() => childrenOf(pod.pid).length === 0);
    box.init.client.kill(pod.token, SIGTERM);
    expect(await box.init.exitOf(pod.token)).toMatchObject({ code: 0, signal: 0 });
  });

  it("may be those of two processes", async () => {
    const pod = await startPod();
    const other = await box.startSleeper({ hostname: "other" });
    const { pid } = await box.startSleeper({
      namespaces: {
        create: ["mount"],
        join: [
          { token: pod.token, which: ["pid"] },
          { token: other.token, which: ["uts", "net"] },
        ],
      },
    });
    expect(namespaceOf(pid, "pid")).toBe(namespaceOf(pod.pid, "pid"));
    expect(namespaceOf(pid, "uts")).toBe(namespaceOf(other.pid, "uts"));
    expect(namespaceOf(pid, "ipc")).toBe(namespaceOf("self", "ipc"));
    expect(namespaceOf(pid, "net")).toBe(namespaceOf("self", "net"));
  });

  it("cannot be those of a process that has ended, is unknown, or is dying unreaped", async () => {
    const which = ["ipc"] as const;
    const joining = (token: bigint) =>
      box.spec(["true"], { namespaces: { create: ["mount"], join: { token, which } } });
    const first = await box.startSleeper();
    box.init.client.kill(first.token, SIGKILL);
    await box.init.exitOf(first.token);
    for (const token of [first.token, 999n])
      expect(await box.failure(joining(token))).toEqual({ stage: "join", code: "ESRCH" });
    for (let i = 0; i < 30; i++) {
      const { pid, token } = await box.startSleeper();
      process.kill(pid, "SIGKILL");
      const outcome = await box.failure(joining(token));
      expect([undefined, "ESRCH"]).toContain(outcome?.code);
      await box.init.exitOf(token);
    }
    const descriptors = box.init.init.openDescriptors();
    for (let i = 0; i < 30; i++) await box.failure(joining(999n));
    expect(box.init.init.openDescriptors()).toBe(descriptors);
  });

  it("of mounts see what is mounted later on what was shared, and when it goes again", async () => {
    mount("", box.root.path, "", MS.SHARED, "");
    const target = join(box.root.path, "tmp");
    const { token } = await box.startSleeper();
    mount("tmpfs", target, "tmpfs", 0, "");
    writeFileSync(join(target, "later"), "");
    expect(await box.exec(token, "ls /tmp")).toBe("later");
    // But nothing comes back.
    await box.exec(token, "mkdir /tmp/inner; mount -t tmpfs none /tmp/inner; touch /tmp/inner/file");
    expect(existsSync(join(target, "inner/file"))).toBe(false);
    // One that something of the container's is mounted on stays there (umount_tree, propagate_umount).
    await box.exec(token, "umount /tmp/inner");
    unmount(target, MNT_DETACH);
    expect(await box.exec(token, "ls /tmp")).toBe("");
  });

  it("of mounts see it with users of their own as well", async () => {
    mount("", box.root.path, "", MS.SHARED, "");
    mkdirSync(join(box.root.path, "late"));
    const { token } = await box.startSleeper({ namespaces: { create: NAMESPACES } });
    mount("tmpfs", join(box.root.path, "late"), "tmpfs", 0, "");
    writeFileSync(join(box.root.path, "late/file"), "");
    expect(await box.exec(token, "ls /late")).toBe("file");
    unmount(join(box.root.path, "late"), MNT_DETACH);
  });
});
