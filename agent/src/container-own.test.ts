import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { createClient, MountService } from "@zone/proto";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { ContainerLab, script, words } from "./container/testing/lab.js";

let lab: ContainerLab;

beforeAll(async () => {
  lab = await ContainerLab.start();
});
afterEach(() => lab.cleanAll());
afterAll(async () => {
  expect(await lab.stop()).toBe(0);
});

const refuses = (request: object) => expect(lab.agent.containers.create({ rootfs: lab.rootfs, ...request })).rejects;

it("gives its capabilities and limits to all processes that say nothing", async () => {
  const status = "grep CapBnd /proc/self/status; ulimit -n; ulimit -Hn";
  const rlimits = [{ type: "nofile", soft: 100, hard: 200 }];
  await lab.run("bound", { capabilities: { names: ["CHOWN"] }, rlimits });
  expect(await lab.sh("bound", status)).toBe("CapBnd:\t0000000000000001\n100\n200\n");
  const own = { capabilities: { names: [] }, rlimits: [{ type: "nofile", soft: 50, hard: 50 }] };
  expect(await lab.sh("bound", status, own)).toBe("CapBnd:\t0000000000000000\n50\n50\n");
  await refuses({ id: "x", capabilities: { names: ["NONE"] } }).toMatchObject({ reason: "INVALID_CAPABILITY" });
  await refuses({ id: "x", rlimits: [{ type: "none" }] }).toMatchObject({ reason: "INVALID_RLIMIT" });
});

describe("devices", () => {
  it("cannot be opened unless they are the container's, and those of the zone's disks never", async () => {
    await lab.run("dev");
    const text =
      "mknod /disk b 7 0 && echo made; mknod /dev/disk b 7 0; mount -t tmpfs x /dev 2>/dev/null; cat /dev/disk; cat /dev/zero | head -c 1 | wc -c; echo x > /dev/null && echo null";
    const output = await lab.sh("dev", text);
    expect(output).toContain("made\n");
    expect(output).toContain("1\nnull\n");
    expect(output).toMatch(/can't open '\/dev\/disk': (Operation not permitted|Permission denied)/);
    expect(await lab.sh("dev", "mknod /dev/zone-console c 5 1; echo x > /dev/zone-console")).toContain("not permitted");
    await lab.clean("dev");
  });

  it("are given by name, with a mode and the rights that were asked for", async () => {
    const { agent } = lab;
    for (const name of ["null", "full"]) symlinkSync(`/dev/${name}`, join(lab.work, "dev", `zz-${name}`));
    await lab.run("given", {
      devices: [
        { path: "/dev/zz-w0", containerPath: "/dev/disks/one", permissions: "r", mode: 0o640, uid: 1000, gid: 5 },
        { path: "/dev/zz-full", permissions: "w" },
      ],
    });
    expect(await lab.sh("given", "stat -c '%a %u %g %F' /dev/disks/one; head -c 1024 /dev/disks/one | wc -c")).toBe(
      "640 1000 5 block special file\n1024\n",
    );
    expect(await lab.sh("given", "echo x > /dev/disks/one")).toContain("Operation not permitted");
    await lab.clean("given");
    await refuses({ id: "x", devices: [{ path: "/dev/none" }] }).toMatchObject({
      code: "NOT_FOUND",
      reason: "DEVICE_NOT_FOUND",
    });
    writeFileSync(join(lab.work, "dev/file"), "");
    await refuses({ id: "x", devices: [{ path: "/dev/file" }] }).toMatchObject({ reason: "INVALID_DEVICE" });
    await refuses({ id: "x", devices: [{ path: "/dev/zz-null", containerPath: "/dev/null" }] }).toMatchObject({
      reason: "INVALID_DEVICE",
    });
    expect((await agent.containers.list({})).containers ?? []).toEqual([]);
  });

  it("are all there in a privileged container, which may do what it wants", async () => {
    await lab.run("priv", { privileged: true });
    const output = await lab.sh(
      "priv",
      "head -c 512 /dev/zz-w0 | wc -c; grep -E 'Seccomp:|CapEff|NoNewPrivs' /proc/self/status; mkdir /m; mount -t tmpfs x /m && echo mounted; touch /proc/sys/kernel/sem && echo writable; ls /proc/timer_list",
    );
    expect(output).toMatch(/^512\nCapEff:\t0*1f[0-9a-f]{9}\nNoNewPrivs:\t0\nSeccomp:\t0\nmounted\nwritable\n/);
    await lab.clean("priv");
  });
});

describe("seccomp", () => {
  const status = "grep Seccomp: /proc/self/status; unshare -u true 2>&1 | grep -o 'not permitted'";

  it("is Docker's default profile, for the init and later processes", async () => {
    await lab.run("sec", {}, { capabilities: { names: ["SETUID"] } });
    expect(await lab.sh("sec", `grep Seccomp: /proc/1/status; ${status}`)).toBe(
      "Seccomp:\t2\nSeccomp:\t2\nnot permitted\n",
    );
    // A capability that makes a call harmless makes it allowed, too.
    expect(await lab.sh("sec", status, { capabilities: { names: ["SYS_ADMIN"] } })).toBe("Seccomp:\t2\nexit 1\n");
    expect(await lab.sh("sec", "grep Seccomp: /proc/self/status", { privileged: true })).toBe("Seccomp:\t0\n");
    await lab.clean("sec");
  });

  it("may be none, or another profile", async () => {
    await lab.run("none", { seccomp: { unconfined: true } });
    expect(await lab.sh("none", "grep Seccomp: /proc/self/status")).toBe("Seccomp:\t0\n");
    const profile = {
      defaultAction: "SCMP_ACT_ALLOW",
      syscalls: [{ names: ["mkdir", "mkdirat"], action: "SCMP_ACT_ERRNO", errnoRet: 122 }],
    };
    await lab.run("own", { seccomp: { profile: Buffer.from(JSON.stringify(profile)) } });
    expect(await lab.sh("own", "mkdir /x")).toContain("Disk quota exceeded");
    await lab.agent.killAgent();
    expect(await lab.sh("own", "mkdir /x")).toContain("Disk quota exceeded");
    await lab.clean("none", "own");
    const bad = { defaultAction: "SCMP_ACT_ALLOW", architectures: ["SCMP_ARCH_Z80"] };
    await refuses({ id: "x", seccomp: { profile: Buffer.from(JSON.stringify(bad)) } }).toMatchObject({
      reason: "INVALID_SECCOMP",
    });
    await refuses({ id: "x", seccomp: { profile: Buffer.from("{") } }).toMatchObject({ reason: "INVALID_SECCOMP" });
    expect(readdirSync(join(lab.agent.directory, "run/containers"))).toEqual([]);
  });
});

describe("privileges", () => {
  it("are not gained in a container that says so", async () => {
    await lab.run("nnp", { noNewPrivileges: true });
    expect(await lab.sh("nnp", "grep NoNewPrivs /proc/self/status /proc/1/status")).toBe(
      "/proc/self/status:NoNewPrivs:\t1\n/proc/1/status:NoNewPrivs:\t1\n",
    );
    expect(await lab.sh("nnp", "grep NoNewPrivs /proc/self/status", { privileged: true })).toBe("NoNewPrivs:\t0\n");
    await lab.clean("nnp");
  });

  it("do not reach masked and read-only paths", async () => {
    await lab.run("masks", { maskedPaths: { paths: ["/proc/uptime", "/etc"] }, readOnlyPaths: { paths: ["/bin"] } });
    expect(
      await lab.sh(
        "masks",
        "wc -c < /proc/uptime; ls /etc; touch /bin/x 2>&1; touch /proc/sys/kernel/sem && echo writable",
      ),
    ).toBe("0\ntouch: /bin/x: Read-only file system\nwritable\n");
    await lab.run("plain");
    expect(await lab.sh("plain", "touch /proc/sys/kernel/sem 2>&1; wc -c < /proc/timer_list")).toBe(
      "touch: /proc/sys/kernel/sem: Read-only file system\n0\n",
    );
    await lab.clean("masks", "plain");
  });
});

describe("namespaces", () => {
  const inode = (name: string) => `readlink /proc/self/ns/${name}`;
  const all = ["pid", "ipc", "uts"].map(inode).join("; ");

  it("are the pod's for those that say so, and held while one of them is there", async () => {
    const pod = { namespaces: { pid: 2, ipc: 2, uts: 2 }, shmBytes: 8 << 20 };
    await lab.run("a", pod);
    await lab.run("b", { namespaces: { pid: 2, ipc: 2 } });
    await lab.run("c");
    const [a = [], b = [], c = []] = await Promise.all(
      ["a", "b", "c"].map(async (id) => (await lab.sh(id, all)).trim().split("\n")),
    );
    expect(b.slice(0, 2)).toEqual(a.slice(0, 2));
    expect(b[2]).not.toBe(a[2]);
    for (const [index, own] of c.entries()) expect([a[index], b[index]]).not.toContain(own);
    expect(
      await lab.sh(
        "a",
        "echo shared > /dev/shm/x; ps | grep -c '[s]leep 600'; df -k /dev/shm | tail -1 | awk '{print $2}'",
      ),
    ).toBe("2\n8192\n");
    expect(await lab.sh("b", "cat /dev/shm/x; ps | grep -o '[z]one-init --pause'")).toBe("shared\nzone-init --pause\n");
    expect(await lab.sh("c", "ls /dev/shm; ps | grep -c '[s]leep 600'")).toBe("1\n");
    // The end of one is the end of what is in it, and of nobody else.
    await lab.agent.killAgent();
    await lab.clean("a");
    expect(await lab.sh("b", all)).toBe(`${b.join("\n")}\n`);
    await lab.clean("b");
    expect(existsSync(join(lab.agent.directory, "run/pod-shm"))).toBe(false);
    await expect.poll(() => lab.holders()).toBe(0);
    await lab.run("d", pod);
    expect(lab.holders()).toBe(1);
    await lab.clean("c", "d");
  });

  it("may be another container's, which must run", async () => {
    await lab.run("one");
    const shares = { namespaces: { pid: 3, ipc: 3, containerId: "one" } };
    await lab.run("two", shares);
    const mine = (await lab.sh("one", all)).split("\n");
    const theirs = (await lab.sh("two", all)).split("\n");
    expect(theirs.slice(0, 2)).toEqual(mine.slice(0, 2));
    expect(theirs[2]).not.toBe(mine[2]);
    await lab.sh("one", "echo x > /dev/shm/x");
    expect(await lab.sh("two", "cat /dev/shm/x; readlink /proc/1/exe; ps | grep -c '[s]leep 600'")).toBe(
      "x\n/bin/busybox\n2\n",
    );
    await lab.agent.containers.kill({ id: "one" });
    await lab.agent.processes.wait({ id: "two-init" });
    await lab.clean("two");
    await refuses({ id: "x", ...shares }).toMatchObject({
      code: "FAILED_PRECONDITION",
      reason: "CONTAINER_NOT_RUNNING",
    });
    await lab.clean("one");
    await refuses({ id: "x", ...shares }).toMatchObject({ code: "NOT_FOUND", reason: "CONTAINER_UNKNOWN" });
  });

  it("leave nothing running of a container whose pid namespace is the pod's", async () => {
    if (lab.cgroups === undefined) return;
    await lab.run("p", { namespaces: { pid: 2 } }, { argv: script("sleep 500 & sleep 0.2; exit 3") });
    const { process } = await lab.agent.processes.wait({ id: "p-init" });
    expect(process?.exit).toMatchObject({ code: 3 });
    expect(
      (await lab.agent.processes.list({})).tasks?.filter(({ command }) =>
        String(Buffer.from(command ?? [])).includes("sleep 500"),
      ),
    ).toEqual([]);
    await lab.clean("p");
  });
});

describe("sysctls", () => {
  it("are of the container's ipc namespace", async () => {
    await lab.run("sys", {
      sysctls: [
        { name: "kernel.shmmax", value: "123456" },
        { name: "fs/mqueue/msg_max", value: "17" },
      ],
    });
    const look =
      "cat /proc/sys/kernel/shmmax /proc/sys/fs/mqueue/msg_max; ls -d /dev/mqueue; grep -c mqueue /proc/mounts";
    expect(await lab.sh("sys", look)).toBe("123456\n17\n/dev/mqueue\n1\n");
    // Also of an init that comes later.
    await lab.agent.containers.kill({ id: "sys" });
    await lab.agent.processes.wait({ id: "sys-init" });
    await lab.agent.processes.start({
      spec: { id: "again", containerId: "sys", init: true, argv: words("sleep", "600") },
    });
    expect(await lab.sh("sys", look)).toBe("123456\n17\n/dev/mqueue\n1\n");
    await lab.clean("sys");
  });

  it("that the kernel refuses, or does not have, make no container", async () => {
    for (const [name, value] of [
      ["kernel.sem", "many"],
      ["kernel.shmmax", "1 2"],
      ["net.core.somaxconn", "many"],
    ] as const)
      await refuses({ id: "x", sysctls: [{ name, value }] }).toMatchObject({ reason: "INVALID_SYSCTL" });
    await refuses({ id: "x", sysctls: [{ name: "kernel.hostname", value: "x" }] }).toMatchObject({
      ...{ code: "PERMISSION_DENIED", reason: "SYSCTL_NOT_ALLOWED" },
    });
    await expect.poll(() => lab.holders()).toBe(0);
  });
});

describe("a root", () => {
  it("may be empty, and be filled before it runs", async () => {
    await lab.agent.containers.create({ id: "empty", rootfs: { empty: true, writableBytes: 16 << 20 } });
    const failed = lab.agent.processes.start({ spec: { containerId: "empty", init: true, argv: words("true") } });
    await expect(failed).rejects.toMatchObject({ reason: "EXEC_NOT_FOUND" });
    const rootfs = join(
      "/proc",
      String(lab.agent.agentPid),
      "root",
      lab.agent.directory,
      "run/containers/empty/rootfs",
    );
    mkdirSync(join(rootfs, "bin"));
    copyFileSync("/bin/busybox", join(rootfs, "bin/busybox"));
    chmodSync(join(rootfs, "bin/busybox"), 0o755);
    await lab.agent.processes.start({ spec: { containerId: "empty", init: true, argv: words("sleep", "600") } });
    expect(await lab.sh("empty", "echo $(busybox ls /)", {})).toBe("bin dev etc proc sys\n");
    await lab.clean("empty");
  });

  it("may be a mount of the zone's: below a layer, or itself", async () => {
    const mounts = createClient(MountService, lab.agent.session.client);
    await mounts.mount({ mount: { type: "tmpfs", target: "data" } });
    const seen = join("/proc", String(lab.agent.agentPid), "root", lab.agent.directory, "run/mounts/data");
    cpSync(join(lab.work, "image"), join(seen, "image"), { recursive: true, verbatimSymlinks: true });
    await lab.run("layered", { rootfs: { source: "zone:data/image" } });
    await lab.sh("layered", "echo x > /new");
    expect(existsSync(join(seen, "image/new"))).toBe(false);
    await lab.clean("layered");
    await lab.run("direct", { rootfs: { source: "zone:data/image", direct: true } });
    expect(await lab.sh("direct", "echo y > /new; mknod /d c 1 3; cat /d")).toContain("Permission denied");
    expect(readFileSync(join(seen, "image/new"), "utf8")).toBe("y\n");
    await lab.clean("direct");
    await refuses({ id: "x", rootfs: { source: "zone:data/none" } }).toMatchObject({ reason: "SOURCE_NOT_FOUND" });
    await refuses({ id: "x", rootfs: { source: "zone:none" } }).toMatchObject({ reason: "SOURCE_NOT_FOUND" });
    await mounts.unmount({ target: "data" });
  });
});

it("mounts come in order, over what every container has", async () => {
  await lab.run("mnt", {
    mounts: [
      { type: "tmpfs", target: "/data", options: ["size=1m", "mode=0700"] },
      { type: "files", target: "/data/conf", files: [{ path: "a/b", data: Buffer.from("text") }] },
      { type: "bind", source: "/data/conf", target: "/again", options: ["ro"] },
    ],
  });
  expect(await lab.sh("mnt", "stat -c %a /data; cat /data/conf/a/b /again/a/b; touch /again/x")).toContain(
    "700\ntexttexttouch: /again/x: Read-only",
  );
  await lab.clean("mnt");
  await refuses({
    id: "x",
    mounts: [
      { type: "tmpfs", target: "/data" },
      { type: "bind", source: "/none", target: "/y" },
    ],
  }).toMatchObject({ reason: "SOURCE_NOT_FOUND" });
  expect(readdirSync(join(lab.agent.directory, "run/containers"))).toEqual([]);
});

it("names are searched for as the container says, and its annotations are kept", async () => {
  await lab.run("dns", {
    nameservers: ["10.0.0.1"],
    dnsSearches: ["a.example"],
    dnsOptions: ["ndots:2"],
    annotations: { k: "v" },
  });
  expect(await lab.sh("dns", "cat /etc/resolv.conf")).toBe("nameserver 10.0.0.1\nsearch a.example\noptions ndots:2\n");
  await lab.agent.killAgent();
  expect((await lab.agent.containers.get({ id: "dns" })).container).toMatchObject({
    annotations: { k: "v" },
    oci: false,
  });
  await lab.clean("dns");
});

it("an init may have a reaper before it", async () => {
  const waits = "trap 'exit 7' TERM; sleep 600 & echo $$ > /new && mv /new /pid; wait";
  await lab.run("reap", {}, { reaper: true, argv: script(waits) });
  expect(await lab.sh("reap", "until [ -e /pid ]; do :; done; cat /pid; kill -0 1 && echo reaper")).toBe("2\nreaper\n");
  await lab.agent.processes.signal({ id: "reap-init", signal: 15 });
  expect((await lab.agent.processes.wait({ id: "reap-init" })).process?.exit).toMatchObject({ code: 7 });
  await lab.clean("reap");
  const reaper = lab.agent.processes.start({ spec: { argv: words("true"), reaper: true } });
  await expect(reaper).rejects.toMatchObject({ reason: "INVALID_ID" });
});
