import { copyFileSync, existsSync, mkdirSync, mkdtempSync, rmdirSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MNT_DETACH, MS, makeNode, mount, unmount } from "../system.js";

const BUSYBOX = "/bin/busybox";
const S_IFCHR = 0o020000;
const COMMANDS = [
  "sh",
  "cat",
  "ls",
  "sleep",
  "echo",
  "hostname",
  "wc",
  "touch",
  "pwd",
  "id",
  "ps",
  "stat",
  "true",
  "tty",
  "kill",
  "ip",
  "mount",
  "umount",
  "mkdir",
  "nc",
];

export const hasBusybox = existsSync(BUSYBOX);

/** A prepared root as the agent makes one: a mount point with busybox, /dev/null, and a /sys. */
export class ContainerRoot {
  readonly path: string;

  constructor() {
    this.path = mkdtempSync(join(tmpdir(), "zone-root-"));
    mount("tmpfs", this.path, "tmpfs", 0, "mode=755");
    for (const name of ["bin", "dev", "etc", "proc", "sys", "tmp"]) mkdirSync(join(this.path, name));
    copyFileSync(BUSYBOX, join(this.path, "bin/busybox"));
    for (const name of COMMANDS) symlinkSync("busybox", join(this.path, "bin", name));
    writeFileSync(join(this.path, "etc/marker"), "inside\n");
    mount("tmpfs", join(this.path, "dev"), "tmpfs", MS.NOSUID, "mode=755");
    makeNode(join(this.path, "dev/null"), S_IFCHR | 0o666, 1, 3);
    mount("sysfs", join(this.path, "sys"), "sysfs", MS.RDONLY | MS.NOSUID | MS.NODEV | MS.NOEXEC, "");
  }

  remove(): void {
    unmount(this.path, MNT_DETACH);
    rmdirSync(this.path);
  }
}
