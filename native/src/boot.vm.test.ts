import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import {
  appendFileSync,
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const repository = (path: string) => fileURLToPath(new URL(`../../${path}`, import.meta.url));
const IMAGE = process.env.ZONE_IMAGE_DIR ?? repository(".cache/image/current");
const QEMU = "/usr/bin/qemu-system-x86_64";
const MKFS = "/usr/bin/mkfs.erofs";
const missing = [join(IMAGE, "vmlinuz"), QEMU, MKFS, "/bin/busybox", "/usr/bin/cpio"].filter(
  (path) => !existsSync(path),
);

/** In the place of Node: says what it finds, ends once to be started again, and powers off then. */
const AGENT = `#!/bin/busybox sh
if [ ! -e /run/second ]; then
  echo "agent first: $1 $HOME $ZONE_CMDLINE"
  sed 's/^/mounted: /' /proc/self/mounts
  echo "pid1: $(cat /proc/1/comm) $(cat /proc/1/oom_score_adj)"
  echo "agent cgroup: $(cat /proc/self/cgroup) oom $(cat /proc/self/oom_score_adj)"
  echo "cgroups: $(ls -d /sys/fs/cgroup/*/ | tr '\\n' ' ') $(cat /sys/fs/cgroup/zone/cgroup.subtree_control)"
  echo "lo: $(cat /sys/class/net/lo/flags) root: $(touch /x 2>&1)"
  echo "fds: $(ls /proc/self/fd | tr '\\n' ' ')"
  touch /run/second
  exit 3
fi
echo "agent second"
kill -TERM 1
sleep 1000
`;

/** Boots the image's kernel with this build's PID 1; what the console said, and QEMU's exit status. */
async function bootZone(initramfs: string, devices: string[]): Promise<{ console: string; status: number | null }> {
  const { cmdline } = JSON.parse(readFileSync(join(IMAGE, "manifest.json"), "utf8")) as { cmdline: string };
  const args = [
    "-accel",
    "tcg",
    "-m",
    "256",
    "-display",
    "none",
    "-serial",
    "stdio",
    "-monitor",
    "none",
    "-nic",
    "none",
    "-no-reboot",
  ];
  const boot = ["-kernel", join(IMAGE, "vmlinuz"), "-initrd", initramfs, "-append", `${cmdline} zone.test=1`];
  const qemu = spawn(QEMU, [...args, ...boot, ...devices], { stdio: ["ignore", "pipe", "inherit"] });
  let console = "";
  qemu.stdout.on("data", (chunk: Buffer) => {
    console += chunk;
  });
  const [status] = (await once(qemu, "exit")) as [number | null];
  return { console, status };
}

describe.skipIf(missing.length > 0)(`booting a zone (needs ${missing.join(", ") || "what is there"})`, () => {
  let dir: string;
  let initramfs: string;
  let disk: string;
  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), "zone-boot-"));
    // A later archive in an initramfs replaces the files of an earlier one: the image's modules, this build's /init.
    const top = join(dir, "top");
    mkdirSync(top);
    copyFileSync(repository("native/build/zone-init"), join(top, "init"));
    initramfs = join(dir, "initramfs.cpio");
    copyFileSync(join(IMAGE, "initramfs.cpio"), initramfs);
    appendFileSync(initramfs, execFileSync("cpio", ["-o", "-H", "newc", "--quiet"], { cwd: top, input: "init\n" }));

    const root = join(dir, "root");
    for (const name of ["bin", "proc", "sys", "dev", "run", "tmp", "var"])
      mkdirSync(join(root, name), { recursive: true });
    copyFileSync("/bin/busybox", join(root, "bin/busybox"));
    for (const name of ["cat", "ls", "sed", "tr", "touch", "sleep"]) symlinkSync("busybox", join(root, "bin", name));
    writeFileSync(join(root, "bin/node"), AGENT);
    chmodSync(join(root, "bin/node"), 0o755);
    disk = join(dir, "root.erofs");
    execFileSync(MKFS, [disk, root], { stdio: "ignore" });
  });
  afterAll(() => rmSync(dir, { recursive: true }));

  it("mounts, protects and starts the agent, starts it again, and powers off when told", async () => {
    const drive = `file=${disk},if=none,format=raw,readonly=on,id=root`;
    const { console, status } = await bootZone(initramfs, [
      "-drive",
      drive,
      "-device",
      "virtio-blk-pci,drive=root,serial=zone-root",
    ]);
    expect(status, console).toBe(0);
    expect(console).toMatch(/agent first: \/usr\/lib\/zone\/agent.mjs \/run .*zone.test=1/);
    const mounts = [...console.matchAll(/^mounted: \S+ (\S+) (\S+) (\S+)/gm)].map(
      ([, target, type, flags]) => `${target} ${type} ${flags?.slice(0, 2)}`,
    );
    for (const mount of [
      "/ erofs ro",
      "/proc proc rw",
      "/sys sysfs rw",
      "/dev devtmpfs rw",
      "/dev/pts devpts rw",
      "/dev/shm tmpfs rw",
      "/run tmpfs rw",
      "/tmp tmpfs rw",
      "/sys/fs/cgroup cgroup2 rw",
    ]) {
      expect(mounts, console).toContain(mount);
    }
    expect(console).toMatch(/pid1: init -1000/);
    expect(console).toMatch(/agent cgroup: 0::\/agent oom -1000/);
    expect(console).toMatch(/cgroups: .*\/sys\/fs\/cgroup\/agent\/ .*\/sys\/fs\/cgroup\/zone\/ .*memory/);
    expect(console).toMatch(/lo: 0x[0-9a-f]*[13579bdf] root: .*Read-only file system/);
    // 3 is the control socket, 4 the directory that ls reads.
    expect(console).toMatch(/fds: 0 1 2 3 4 \r?\n/);
    expect(console).toMatch(/the agent ended after \d+ ms by exit 3; next start in 0 ms/);
    expect(console).toContain("agent second");
    expect(console).not.toContain("Kernel panic");
  });

  it("says what is missing when there is no root disk, and powers off", async () => {
    const { console, status } = await bootZone(initramfs, []);
    expect(status, console).toBe(0);
    expect(console).toContain('no disk with serial "zone-root" within 30000 ms');
    expect(console).not.toContain("Kernel panic");
  });

  it("says so when the root disk is not one", async () => {
    const empty = join(dir, "empty");
    writeFileSync(empty, Buffer.alloc(1 << 20));
    const drive = `file=${empty},if=none,format=raw,readonly=on,id=root`;
    const { console, status } = await bootZone(initramfs, [
      "-drive",
      drive,
      "-device",
      "virtio-blk-pci,drive=root,serial=zone-root",
    ]);
    expect(status, console).toBe(0);
    expect(console).toMatch(/cannot mount \/dev\/vda as erofs: /);
    expect(console).not.toContain("Kernel panic");
  });
});
