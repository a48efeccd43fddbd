import { readSync } from "node:fs";
import { addon } from "./addon.js";
import { closeFd } from "./descriptors.js";
import { MS, UMOUNT_NOFOLLOW } from "./system.js";

/** Attributes of one mount, `MOUNT_ATTR_*` of <linux/mount.h>; RELATIME is the absence of the other two. */
export const MOUNT_ATTR = {
  RDONLY: 0x1,
  NOSUID: 0x2,
  NODEV: 0x4,
  NOEXEC: 0x8,
  RELATIME: 0,
  NOATIME: 0x10,
  STRICTATIME: 0x20,
  NODIRATIME: 0x80,
  NOSYMFOLLOW: 0x20_0000,
} as const;

/** MOUNT_ATTR__ATIME: the bits that hold one value of three. */
const ATIME_MASK = 0x70;

/** What the kernel says of a mount that it refuses: the error of the system call, and the lines of its log. */
export interface MountError extends Error {
  code: string;
  errno: number;
  syscall: string;
  /** Errors and warnings that fsconfig(2) left in the file-system context, in order; often empty, always bounded. */
  kernelLog: string[];
}

/** A key alone is a flag ("ro"), with a value it is a setting ("lowerdir", "/a"). The kernel takes 255 bytes of each: ENAMETOOLONG. */
export type FsOption = readonly [key: string, value?: string];

/**
 * A mount of a new file system, attached nowhere: its descriptor, for moveMount(). Closing it without that unmounts. It is as
 * one of O_PATH: openAt(fd, ".", O_RDONLY) gives one for ioctls. Throws MountError, whose kernelLog says what the kernel found
 * wrong; of file systems that were not converted (overlay in 6.1) that goes to dmesg. fsopen(2), fsconfig(2), fsmount(2).
 */
export function fsMount(type: string, options: readonly FsOption[], mountAttributes: number, source?: string): number {
  const context = addon().fsOpen(type);
  try {
    if (source !== undefined) addon().fsConfig(context, "source", source);
    for (const [key, value] of options) addon().fsConfig(context, key, value);
    addon().fsCreate(context);
    return addon().fsMount(context, mountAttributes);
  } catch (error) {
    throw withKernelLog(error, context);
  } finally {
    closeFd(context);
  }
}

/** Lines that a context keeps (`LC` in fs/fs_context.c is 8), and the longest that is worth reading. */
const LOG_LINES = 8;
const LOG_LINE_BYTES = 4096;

/** One read(2) of a context is one line, "e message", "w message" or "i message"; ENODATA ends them. */
function readKernelLog(context: number): string[] {
  const lines: string[] = [];
  const buffer = Buffer.alloc(LOG_LINE_BYTES);
  for (let i = 0; i < LOG_LINES; i++) {
    let length: number;
    try {
      length = readSync(context, buffer);
    } catch (error) {
      // ENODATA: no more. EMSGSIZE: a line that does not fit is gone with this read, the next may fit.
      if ((error as NodeJS.ErrnoException).code === "EMSGSIZE") continue;
      return lines;
    }
    const [, level, message] = /^([ewi]) (.*)$/s.exec(buffer.toString("utf8", 0, length).trimEnd()) ?? [];
    if (message !== undefined && level !== "i") lines.push(message);
  }
  return lines;
}

function withKernelLog(error: unknown, context: number): unknown {
  if (!(error instanceof Error) || !("syscall" in error)) return error;
  const kernelLog = readKernelLog(context);
  if (kernelLog.length > 0) error.message += `: ${kernelLog.join("; ")}`;
  return Object.assign(error, { kernelLog });
}

export interface OpenTreeOptions {
  /** With everything mounted below. AT_RECURSIVE. */
  recursive?: boolean;
  /** A detached copy, as of a bind mount, for moveMount(); closing it unattached unmounts it. The default; false opens the place as O_PATH does. */
  clone?: boolean;
  /** Not through a symbolic link at the end of the path. AT_SYMLINK_NOFOLLOW. */
  noFollow?: boolean;
}

/**
 * The mount at `path`, from the directory `dirFd` (without one: from the working directory); an empty path is what `dirFd`
 * itself is. A copy's root is exactly that file or directory. open_tree(2).
 */
export function openTree(path: string, options: OpenTreeOptions, dirFd?: number): number {
  return addon().openTree(
    dirFd ?? AT_FDCWD,
    path,
    options.recursive ?? false,
    options.clone ?? true,
    options.noFollow ?? false,
  );
}

/** The working directory, <fcntl.h>. */
const AT_FDCWD = -100;

/** Attaches a detached mount onto exactly what `targetFd` is; no path is walked. A file goes onto a file, a directory onto a directory. move_mount(2). */
export function moveMount(mountFd: number, targetFd: number): void {
  addon().moveMount(mountFd, targetFd);
}

export interface MountAttributeChange {
  /** Bits of MOUNT_ATTR. One of NOATIME, STRICTATIME replaces what was in force. */
  set?: number;
  clear?: number;
  /** MS.PRIVATE, MS.SLAVE, MS.SHARED or MS.UNBINDABLE. */
  propagation?: number;
  /** All mounts below too; all or none of them change. */
  recursive?: boolean;
}

/** Changes the attributes of the mount whose root `fd` is (EINVAL when it is no root). mount_setattr(2). */
export function setMountAttributes(fd: number, change: MountAttributeChange): void {
  const set = change.set ?? 0;
  let clear = change.clear ?? 0;
  // The three values of atime share a field: the kernel takes a change of it only with the whole field cleared.
  if ((set | clear) & ATIME_MASK) clear |= ATIME_MASK;
  addon().setMountAttributes(fd, set, clear, change.propagation ?? 0, change.recursive ?? false);
}

/** Changes options of a mounted file system, not of one mount: `[["size", "64m"]]` of a tmpfs. Throws MountError. fspick(2), FSCONFIG_CMD_RECONFIGURE. */
export function reconfigureFs(fd: number, options: readonly FsOption[]): void {
  const context = addon().fsPick(fd);
  try {
    for (const [key, value] of options) addon().fsConfig(context, key, value);
    addon().fsReconfigure(context);
  } catch (error) {
    throw withKernelLog(error, context);
  } finally {
    closeFd(context);
  }
}

/**
 * Unmounts the mount that `fd` is the root of; follows nothing. The descriptor itself keeps the mount busy: without
 * MNT_DETACH this is EBUSY, see unmountAt(). EINVAL when `fd` is no mount's root. umount2(2) through /proc/self/fd.
 */
export function unmountFd(fd: number, flags: number): void {
  // The magic link is what leads to the mount: UMOUNT_NOFOLLOW would stop at it.
  addon().unmount(`/proc/self/fd/${fd}`, flags & ~UMOUNT_NOFOLLOW);
}

/** Unmounts what is mounted on `name`, one component, in the directory `dirFd`; never through a link. EBUSY while it is in use. umount2(2). */
export function unmountAt(dirFd: number, name: string, flags: number): void {
  if (name === "" || name === "." || name === ".." || name.includes("/")) {
    throw Object.assign(new Error(`EINVAL: '${name}' is not a name in a directory, umount2`), {
      code: "EINVAL",
      errno: -22,
      syscall: "umount2",
      path: name,
    });
  }
  addon().unmount(`/proc/self/fd/${dirFd}/${name}`, flags | UMOUNT_NOFOLLOW);
}

/** The values that setMountAttributes() takes as `propagation`. */
export const PROPAGATION = {
  PRIVATE: MS.PRIVATE,
  SLAVE: MS.SLAVE,
  SHARED: MS.SHARED,
  UNBINDABLE: MS.UNBINDABLE,
} as const;
