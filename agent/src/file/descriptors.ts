import { type BigIntStats, chmodSync, constants, fstatSync, openSync, read, readSync, write, writeSync } from "node:fs";
import { chownAt, closeFd, openAt, openInRoot } from "@zone/native";
import { O_PATH } from "../descriptors.js";
import { fileErrno, requireThawed } from "./file-error.js";
import { FILE_LIMITS } from "./limits.js";
import { type SplitPath, splitNamed } from "./path.js";

export const { O_DIRECTORY, O_NOFOLLOW, O_RDONLY, O_WRONLY, O_CREAT, O_EXCL, O_APPEND, O_NONBLOCK, O_NOCTTY } =
  constants;

/** Uses a descriptor and closes it. */
export async function withFdAsync<T>(fd: number, use: (fd: number) => Promise<T>): Promise<T> {
  try {
    return await use(fd);
  } finally {
    closeFd(fd);
  }
}

/** Where the kernel shows what a descriptor is; opening it opens that very file, whatever its name leads to by now. */
export function procPath(fd: number): string {
  return `/proc/self/fd/${fd}`;
}

export function statOf(fd: number): BigIntStats {
  return fstatSync(fd, { bigint: true });
}

/** chmod(2) of what an O_PATH descriptor is, which fchmod(2) refuses. Not of a symbolic link. */
export function chmodFd(fd: number, mode: number): void {
  chmodSync(procPath(fd), mode);
}

/** Owner, then mode: chown(2) takes setuid and setgid away. */
export function setOwnerAndMode(fd: number, uid: number, gid: number, mode: number): void {
  requireThawed(fd);
  chownAt(fd, uid, gid);
  chmodFd(fd, mode);
}

/** Opens the directory that holds `path`'s last name; the caller closes it. */
export function openParent(root: number, path: string): SplitPath & { name: string; dir: number } {
  const split = splitNamed(path);
  return { ...split, dir: openInRoot(root, split.parent, O_PATH | O_DIRECTORY) };
}

/**
 * Opens the regular file that the O_PATH descriptor `fd` is. Anything else is refused before it is opened: opening a device
 * may do something, and a FIFO waits. NOT_A_FILE, IS_A_DIRECTORY.
 */
export function openRegular(fd: number, flags: number, path: string): number {
  const stat = fstatSync(fd);
  if (stat.isDirectory()) throw fileErrno("EISDIR", path);
  if (!stat.isFile()) throw fileErrno("ENXIO", path);
  if (flags & O_WRONLY) requireThawed(fd, path);
  return openSync(procPath(fd), flags | O_NONBLOCK | O_NOCTTY);
}

/** Makes a file that was not there, nobody's but root's until it is given its owner and mode. EEXIST. */
export function createFile(dir: number, name: string | Uint8Array, flags: number): number {
  requireThawed(dir);
  return openAt(dir, name, flags | O_CREAT | O_EXCL | O_NOFOLLOW | O_NOCTTY, 0o600);
}

/** pread(2): fills `buffer` from `from` to `to`, or less at the end of the file; the bytes read. */
export function readAt(
  fd: number,
  buffer: Buffer,
  from: number,
  to: number,
  position: number,
): number | Promise<number> {
  if (to - from <= FILE_LIMITS.quickBytes) return readSync(fd, buffer, from, to - from, position);
  return new Promise((resolve, reject) => {
    read(fd, buffer, from, to - from, position, (error, bytes) => (error ? reject(error) : resolve(bytes)));
  });
}

/** pwrite(2) of all of `data`; with position null write(2). */
export async function writeAll(fd: number, data: Uint8Array, position: number | null): Promise<void> {
  for (let done = 0; done < data.length; ) {
    const at = position === null ? null : position + done;
    requireThawed(fd);
    if (data.length - done <= FILE_LIMITS.quickBytes) done += writeSync(fd, data, done, data.length - done, at);
    else done += await writeSome(fd, data, done, at);
  }
}

function writeSome(fd: number, data: Uint8Array, from: number, at: number | null): Promise<number> {
  return new Promise((resolve, reject) => {
    write(fd, data, from, data.length - from, at, (error, bytes) => (error ? reject(error) : resolve(bytes)));
  });
}
