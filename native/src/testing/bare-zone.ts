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

const repository = (path: string) => fileURLToPath(new URL(`../../../${path}`, import.meta.url));
const IMAGE = process.env.ZONE_IMAGE_DIR ?? repository(".cache/image/current");
const QEMU = "/usr/bin/qemu-system-x86_64";
const MKFS = "/usr/bin/mkfs.erofs";
const COMMANDS = ["cat", "grep", "kill", "ls", "mkdir", "sed", "sh", "sleep", "tail", "touch", "tr", "true"];

/** What is not there and has to be, to boot a zone in a test. */
export const missingForZones = [join(IMAGE, "vmlinuz"), QEMU, MKFS, "/bin/busybox", "/usr/bin/cpio"].filter(
  (path) => !existsSync(path),
);

/** The image's kernel with this build's PID 1, and a shell script in the place of the agent. */
export class BareZone {
  readonly #initramfs: string;
  readonly #disk: string;

  private constructor(readonly dir: string) {
    this.#initramfs = join(dir, "initramfs.cpio");
    this.#disk = join(dir, "root.erofs");
  }

  static make(agentScript: string): BareZone {
    const zone = new BareZone(mkdtempSync(join(tmpdir(), "zone-boot-")));
    zone.#makeInitramfs();
    zone.#makeDisk(agentScript);
    return zone;
  }

  remove(): void {
    rmSync(this.dir, { recursive: true });
  }

  /** Boots with `disk` (false: none; a path: that) as root; what the console said, and QEMU's exit status. */
  async boot(
    options: { disk?: string | false; memoryMiB?: number } = {},
  ): Promise<{ console: string; status: number | null }> {
    const { disk = this.#disk, memoryMiB = 256 } = options;
    const { cmdline } = JSON.parse(readFileSync(join(IMAGE, "manifest.json"), "utf8")) as { cmdline: string };
    const machine = [
      "-accel",
      "tcg",
      "-m",
      String(memoryMiB),
      "-display",
      "none",
      "-serial",
      "stdio",
      "-monitor",
      "none",
    ];
    const boot = ["-kernel", join(IMAGE, "vmlinuz"), "-initrd", this.#initramfs, "-append", `${cmdline} zone.test=1`];
    const drive = ["-drive", `file=${disk},if=none,format=raw,readonly=on,id=root`];
    const devices = disk ? [...drive, "-device", "virtio-blk-pci,drive=root,serial=zone-root"] : [];
    const args = [...machine, "-nic", "none", "-no-reboot", ...boot, ...devices];
    const qemu = spawn(QEMU, args, { stdio: ["ignore", "pipe", "inherit"] });
    let console = "";
    qemu.stdout.on("data", (chunk: Buffer) => {
      console += chunk;
    });
    const [status] = (await once(qemu, "exit")) as [number | null];
    return { console, status };
  }

  /** A later archive in an initramfs replaces the files of an earlier one: the image's modules, this build's /init. */
  #makeInitramfs(): void {
    const top = join(this.dir, "top");
    mkdirSync(top);
    copyFileSync(repository("native/build/zone-init"), join(top, "init"));
    copyFileSync(join(IMAGE, "initramfs.cpio"), this.#initramfs);
    const cpio = execFileSync("cpio", ["-o", "-H", "newc", "--quiet"], { cwd: top, input: "init\n" });
    appendFileSync(this.#initramfs, cpio);
  }

  #makeDisk(agentScript: string): void {
    const root = join(this.dir, "root");
    for (const name of ["bin", "proc", "sys", "dev", "run", "tmp", "var"])
      mkdirSync(join(root, name), { recursive: true });
    copyFileSync("/bin/busybox", join(root, "bin/busybox"));
    for (const name of COMMANDS) symlinkSync("busybox", join(root, "bin", name));
    writeFileSync(join(root, "bin/node"), agentScript);
    chmodSync(join(root, "bin/node"), 0o755);
    execFileSync(MKFS, [this.#disk, root], { stdio: "ignore" });
  }
}
