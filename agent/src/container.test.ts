import { execFileSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { RunningAgent } from "./testing/running-agent.js";

/** Real images on loop devices, in a folder that stands for /sys/block: a loop device has no serial of its own. */
const work = mkdtempSync(join(tmpdir(), "zone-container-"));
const sysBlock = join(work, "sys-block");
const devices: string[] = [];
let agent: RunningAgent;
let cgroups: string;

function makeImage(name: string, files: Record<string, string>, links: Record<string, string> = {}): string {
  const root = join(work, name);
  mkdirSync(join(root, "bin"), { recursive: true });
  chmodSync(root, 0o751);
  execFileSync("cp", ["/bin/busybox", join(root, "bin/busybox")]);
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(join(root, path, ".."), { recursive: true });
    writeFileSync(join(root, path), text);
  }
  for (const [path, target] of Object.entries(links)) {
    mkdirSync(join(root, path, ".."), { recursive: true });
    symlinkSync(target, join(root, path));
  }
  execFileSync("mkfs.erofs", ["-x-1", join(work, `${name}.erofs`), root], { stdio: "ignore" });
  return attach(join(work, `${name}.erofs`), name);
}

function attach(file: string, serial: string): string {
  const device = execFileSync("losetup", ["--read-only", "--show", "-f", file], { encoding: "utf8" }).trim();
  devices.push(device);
  return announce(device, serial);
}

function announce(device: string, serial: string): string {
  const block = join(sysBlock, `zz-${serial}`);
  mkdirSync(block, { recursive: true });
  symlinkSync(device, join(work, "dev", `zz-${serial}`));
  writeFileSync(join(block, "serial"), `${serial}\n`);
  return serial;
}

/** A cgroup2 folder of our own; where the host's has the controllers elsewhere there are no limits, only groups. */
function makeCgroups(): string {
  const root = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].find((path) =>
    existsSync(join(path, "cgroup.controllers")),
  );
  if (!root) return join(work, "no-cgroups");
  const path = join(root, `zone-test-${process.pid}`);
  mkdirSync(path);
  return path;
}

beforeAll(async () => {
  for (const name of ["dev", "sys-block"]) mkdirSync(join(work, name));
  cgroups = makeCgroups();
  makeImage("w0", {
    "etc/passwd": "root:x:0:0::/root:/bin/sh\nweb:x:1000:1000::/home/web:/bin/sh\n",
    "etc/group": "root:x:0:\nweb:x:1000:\nextra:x:77:web\n",
    "etc/marker": "from the image\n",
  });
  makeImage("bad", {}, { dev: "/etc" });
  makeImage("links", {}, { "etc/hosts": "/outside", "etc/resolv.conf": "../run/nowhere/resolv.conf" });
  agent = await RunningAgent.start("", {
    ZONE_SYS_BLOCK: sysBlock,
    ZONE_DEV: join(work, "dev"),
    ZONE_CGROUPS: cgroups,
  });
});
afterAll(async () => {
  const status = await agent?.stop();
  for (const device of devices) execFileSync("losetup", ["-d", device]);
  if (existsSync(cgroups)) execFileSync("rmdir", [cgroups]);
  rmSync(work, { recursive: true, force: true });
  expect(status).toBe(0);
});

const rootfs = (blockSerial: string, more: object = {}) => ({ blockSerial, fsType: "erofs", ...more });
const busybox = (...words: string[]) => ["/bin/busybox", ...words].map((word) => Buffer.from(word));
const sh = (text: string) => busybox("sh", "-c", text);
const mounts = () =>
  readFileSync(`/proc/${agent.agentPid}/mounts`, "utf8")
    .split("\n")
    .filter((line) => line.includes(agent.directory));

/** Starts an init that stays, and gives a function that ends it. */
async function startInit(containerId: string, more: object = {}): Promise<() => Promise<void>> {
  const id = `${containerId}-init`;
  await agent.processes.start({ spec: { id, containerId, init: true, argv: busybox("sleep", "600"), ...more } });
  return async () => {
    await agent.processes.signal({ id, signal: 9 });
    await agent.processes.wait({ id });
    await agent.processes.delete({ id });
  };
}

describe("a container", () => {
  it("has a root, a cgroup and an identity of its own, and leaves nothing", async () => {
    const { container } = await agent.containers.create({
      id: "box",
      rootfs: rootfs("w0", { writableBytes: 4 << 20 }),
      hostname: "box-host",
      hosts: [{ address: "10.0.0.9", names: ["nine", "neun"] }],
      nameservers: ["10.0.0.53"],
    });
    expect(container).toMatchObject({ id: "box", hostname: "box-host" });
    const end = await startInit("box");
    expect((await agent.containers.list({})).containers).toMatchObject([{ id: "box", initProcessId: "box-init" }]);

    const text = `hostname; cat /etc/marker /etc/hostname /etc/resolv.conf; grep nine /etc/hosts; echo $HOME; id -u; id -G
      ls /dev; echo new > /etc/marker; cat /etc/marker; dd if=/dev/zero of=/big bs=1M count=8 2>/dev/null || echo full
      touch /sys/x /sys/fs/cgroup/x 2>/dev/null || echo read-only; stat -c %a / /dev/null /dev/shm; ps | grep -c '[s]leep 600'`;
    const result = await agent.exec({ spec: { containerId: "box", argv: sh(text) } }).result;
    expect(result.stderr.toString()).toBe("");
    expect(result.stdout.toString().split("\n")).toEqual([
      ...["box-host", "from the image", "box-host", "nameserver 10.0.0.53", "10.0.0.9\tnine neun", "/root", "0", "0"],
      ...[
        "fd",
        "full",
        "mqueue",
        "null",
        "ptmx",
        "pts",
        "random",
        "shm",
        "stderr",
        "stdin",
        "stdout",
        "tty",
        "urandom",
        "zero",
      ],
      ...["new", "full", "read-only", "751", "666", "1777", "1", ""],
    ]);
    const web = await agent.exec({ spec: { containerId: "box", argv: sh("id -u; id -G; echo $HOME"), user: "web" } })
      .result;
    expect(web.stdout.toString()).toBe("1000\n1000 77\n/home/web\n");
    const unknown = await agent.exec({ spec: { containerId: "box", argv: sh("true"), user: "nobody" } }).result;
    expect(unknown.failed).toMatchObject({ reason: "USER_UNKNOWN" });

    const { tasks } = await agent.processes.list({ containerId: "box" });
    expect(tasks?.map((task) => [task.containerPid, Buffer.from(task.command ?? []).toString()])).toEqual([
      [1, "/bin/busybox sleep 600"],
    ]);
    if (existsSync(cgroups)) {
      expect(readFileSync(join(cgroups, "box/cgroup.procs"), "utf8").trim()).toBe(String(tasks?.[0]?.pid));
    }
    await expect(agent.containers.delete({ id: "box" })).rejects.toMatchObject({ reason: "CONTAINER_RUNNING" });
    const second = agent.processes.start({ spec: { containerId: "box", init: true, argv: busybox("true") } });
    await expect(second).rejects.toMatchObject({ reason: "CONTAINER_HAS_INIT" });
    await end();
    const late = agent.processes.start({ spec: { containerId: "box", argv: busybox("true") } });
    await expect(late).rejects.toMatchObject({ reason: "CONTAINER_NOT_RUNNING" });
    await agent.containers.delete({ id: "box" });
    expect(mounts()).toEqual([]);
    expect(readdirSync(join(agent.directory, "run/containers"))).toEqual([]);
    expect(existsSync(join(cgroups, "box"))).toBe(false);
    await expect(agent.containers.delete({ id: "box" })).rejects.toMatchObject({ reason: "CONTAINER_UNKNOWN" });
  });

  it("may be read-only, and its init ends it", async () => {
    await agent.containers.create({ id: "ro", rootfs: rootfs("w0", { readOnly: true }) });
    const text = "touch /x 2>/dev/null || echo read-only; echo $$; cat /etc/hostname; sleep 600 & exit 6";
    const result = await agent.exec({ spec: { containerId: "ro", init: true, argv: sh(text) } }).result;
    expect([result.stdout.toString(), result.code]).toEqual(["read-only\n1\nro\n", 6]);
    expect(result.eofs.every(({ heldOpen }) => !heldOpen)).toBe(true); // the kernel has ended the sleep
    await agent.containers.delete({ id: "ro" });
    expect(mounts()).toEqual([]);
  });

  it("never follows an image's links out of its root", async () => {
    await agent.containers.create({ id: "links", rootfs: rootfs("links"), nameservers: ["10.0.0.1"] });
    const result = await agent.exec({
      spec: {
        containerId: "links",
        init: true,
        argv: sh("head -1 /etc/hosts; cat /etc/resolv.conf; ls /outside 2>&1"),
      },
    }).result;
    expect(result.stdout.toString()).toBe(
      "127.0.0.1\tlocalhost\nnameserver 10.0.0.1\nls: /outside: No such file or directory\n",
    );
    expect(existsSync("/outside")).toBe(false);
    await agent.containers.delete({ id: "links" });
  });

  it("waits for its disk", async () => {
    const created = agent.containers.create({ id: "late", rootfs: rootfs("late") });
    const looked = new Promise((resolve) => setTimeout(resolve, 100));
    await looked;
    expect((await agent.containers.list({})).containers ?? []).toEqual([]);
    announce(devices[0] ?? "", "late");
    await created;
    await agent.containers.delete({ id: "late" });
  });

  it("survives the agent, with what runs in it", async () => {
    await agent.containers.create({ id: "stays", rootfs: rootfs("w0"), hostname: "stays-host" });
    const end = await startInit("stays");
    await agent.killAgent();
    expect((await agent.containers.list({})).containers).toMatchObject([
      { id: "stays", hostname: "stays-host", initProcessId: "stays-init" },
    ]);
    const result = await agent.exec({ spec: { containerId: "stays", argv: sh("hostname") } }).result;
    expect(result.stdout.toString()).toBe("stays-host\n");
    await end();
    await agent.containers.delete({ id: "stays" });
    expect(mounts()).toEqual([]);
  });
});

describe("Create refuses, and leaves nothing", () => {
  for (const [what, request, reason] of [
    ["a disk that is not there", { id: "x", rootfs: rootfs("none", { waitMs: 20 }) }, "DEVICE_NOT_FOUND"],
    ["a disk that holds something else", { id: "x", rootfs: { ...rootfs("w0"), fsType: "squashfs" } }, "MOUNT_FAILED"],
    ["an image whose /dev is a link", { id: "x", rootfs: rootfs("bad") }, "INVALID_ROOTFS"],
    ["another file system", { id: "x", rootfs: { ...rootfs("w0"), fsType: "ext4" } }, "INVALID_ROOTFS"],
    ["a bad id", { id: "../x", rootfs: rootfs("w0") }, "INVALID_ID"],
    ["a bad host name", { id: "x", rootfs: rootfs("w0"), hostname: "a b" }, "INVALID_HOSTNAME"],
    [
      "a bad host entry",
      { id: "x", rootfs: rootfs("w0"), hosts: [{ address: "1.2.3.4", names: ["a\nb"] }] },
      "INVALID_HOSTNAME",
    ],
    ["a bad nameserver", { id: "x", rootfs: rootfs("w0"), nameservers: ["1.2.3.4\n"] }, "INVALID_HOSTNAME"],
    ["a tiny writable layer", { id: "x", rootfs: rootfs("w0", { writableBytes: 1 }) }, "INVALID_ROOTFS"],
  ] as const) {
    it(what, async () => {
      await expect(agent.containers.create(request as object)).rejects.toMatchObject({ reason, domain: "zone.agent" });
      expect(mounts()).toEqual([]);
      expect(existsSync(join(cgroups, "x"))).toBe(false);
      expect((await agent.containers.list({})).containers ?? []).toEqual([]);
    });
  }

  it("an id that is taken, also while the first is being made", async () => {
    const first = agent.containers.create({ id: "dup", rootfs: rootfs("w0") });
    const second = agent.containers.create({ id: "dup", rootfs: rootfs("w0") });
    await expect(second).rejects.toMatchObject({ code: "ALREADY_EXISTS", reason: "CONTAINER_EXISTS" });
    await first;
    await agent.containers.delete({ id: "dup" });
  });
});
