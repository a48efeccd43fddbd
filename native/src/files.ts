import { addon } from "./addon.js";

/** A file's name in a directory, or a path; as bytes when it is not UTF-8, as Node's own functions take it. */
export type FileName = string | Uint8Array;

export interface ResolveOptions {
  /** ELOOP at any symbolic link. RESOLVE_NO_SYMLINKS. */
  noSymlinks?: boolean;
  /** EXDEV for a path that leads out, instead of seeing it as in a changed root; absolute paths too. RESOLVE_BENEATH. */
  beneath?: boolean;
  /** EXDEV at any mount point. RESOLVE_NO_XDEV. */
  noXdev?: boolean;
}

const RESOLVE = { NO_XDEV: 0x01, NO_MAGICLINKS: 0x02, NO_SYMLINKS: 0x04, BENEATH: 0x08, IN_ROOT: 0x10 } as const;

/**
 * Opens `path` as a process whose root is the directory `rootFd` would see it: no "..", absolute path or symbolic link leads
 * out. openat2(2) with RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS; `flags` as open(2), O_CLOEXEC is added.
 */
export function openInRoot(
  rootFd: number,
  path: FileName,
  flags: number,
  mode = 0,
  options: ResolveOptions = {},
): number {
  const resolve =
    RESOLVE.NO_MAGICLINKS |
    (options.beneath ? RESOLVE.BENEATH : RESOLVE.IN_ROOT) |
    (options.noSymlinks ? RESOLVE.NO_SYMLINKS : 0) |
    (options.noXdev ? RESOLVE.NO_XDEV : 0);
  return addon().openInRoot(rootFd, path, flags, mode, resolve);
}

/** Opens `name` in a directory; close-on-exec. Nothing confines a path with slashes here: see openInRoot(). openat(2). */
export function openAt(dirFd: number, name: FileName, flags: number, mode = 0): number {
  return addon().openAt(dirFd, name, flags, mode);
}

/** Renames within one file system. `noReplace`: EEXIST when `to` is there; `exchange`: the two change places. renameat2(2). */
export function renameAt(
  fromDirFd: number,
  from: FileName,
  toDirFd: number,
  to: FileName,
  options: { noReplace?: boolean; exchange?: boolean } = {},
): void {
  addon().renameAt(fromDirFd, from, toDirFd, to, (options.noReplace ? 1 : 0) | (options.exchange ? 2 : 0));
}

/** Makes a directory; umask applies. mkdirat(2). */
export function mkdirAt(dirFd: number, name: FileName, mode = 0o777): void {
  addon().mkdirAt(dirFd, name, mode);
}

/** Removes a name, or with `directory` an empty directory. unlinkat(2). */
export function unlinkAt(dirFd: number, name: FileName, options: { directory?: boolean } = {}): void {
  addon().unlinkAt(dirFd, name, options.directory ?? false);
}

/** Makes a symbolic link `name` that says `target`. symlinkat(2). */
export function symlinkAt(target: FileName, dirFd: number, name: FileName): void {
  addon().symlinkAt(target, dirFd, name);
}

/** Makes a hard link to what `fd` is; O_PATH will do, a symbolic link and an O_TMPFILE too. Needs CAP_DAC_READ_SEARCH. linkat(2) AT_EMPTY_PATH. */
export function linkAt(fd: number, dirFd: number, name: FileName): void {
  addon().linkAt(fd, dirFd, name);
}

/** Changes the owner of what `fd` is, a symbolic link itself included; O_PATH will do. -1 leaves one as it is. fchownat(2) AT_EMPTY_PATH. */
export function chownAt(fd: number, uid: number, gid: number): void {
  addon().chownAt(fd, uid, gid);
}

/** Makes a node (device, FIFO, socket, empty file): `mode` holds type and permissions, umask applies. mknodat(2). */
export function mknodAt(dirFd: number, name: FileName, mode: number, major: number, minor: number): void {
  addon().mknodAt(dirFd, name, mode, major, minor);
}

/** What the symbolic link says that `fd` (O_PATH | O_NOFOLLOW) is. EINVAL when it is none. readlinkat(2) with an empty path. */
export function readlinkBytesAt(fd: number): Buffer {
  return addon().readlinkAt(fd);
}

/**
 * Sets times in nanoseconds since 1970 (negative: before); undefined leaves one as it is. For anything that `fd` may be, a
 * symbolic link included; O_PATH will do. A file system clamps what it cannot hold (ext4: 1901 to 2446). utimensat(2) AT_EMPTY_PATH.
 */
export function setTimes(fd: number, atimeNs: bigint | undefined, mtimeNs: bigint | undefined): void {
  addon().setTimes(fd, ...timespec(atimeNs), ...timespec(mtimeNs));
}

/** UTIME_OMIT, <sys/stat.h>. */
const UTIME_OMIT = 0x3fff_fffe;
const NS = 1_000_000_000n;

/** Seconds rounded down, so that nanoseconds are never negative. */
function timespec(time: bigint | undefined): [seconds: bigint, nanoseconds: number] {
  if (time === undefined) return [0n, UTIME_OMIT];
  const nanoseconds = ((time % NS) + NS) % NS;
  return [(time - nanoseconds) / NS, Number(nanoseconds)];
}

/** Where the next data is at or after `offset`; -1 when there is none. Moves the descriptor's offset. lseek(2) SEEK_DATA. */
export function seekData(fd: number, offset: number): number {
  return addon().seekSparse(fd, offset, false);
}

/** Where the next hole is at or after `offset`, the end of the file being one; -1 when `offset` is beyond it. lseek(2) SEEK_HOLE. */
export function seekHole(fd: number, offset: number): number {
  return addon().seekSparse(fd, offset, true);
}
