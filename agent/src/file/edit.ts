import { fstatSync } from "node:fs";
import { chownAt, closeFd, linkAt, mkdirAt, openAt, openInRoot, renameAt, setTimes, symlinkAt } from "@zone/native";
import { O_PATH, withFd } from "../descriptors.js";
import { errnoOf, invalid } from "../errors.js";
import { chmodFd, O_DIRECTORY, O_NOFOLLOW, openParent, setOwnerAndMode, statOf } from "./descriptors.js";
import { fileErrno, requireThawed } from "./file-error.js";
import { invalidPath } from "./path.js";

export interface Ownership {
  mode: number;
  uid: number;
  gid: number;
}

/** Makes one directory. EEXIST when anything is there. */
export function makeDirectory(root: number, path: string, ownership: Ownership): void {
  const { dir, name } = openParent(root, path);
  withFd(dir, () => closeFd(makeDirectoryAt(dir, name, ownership)));
}

const PARENT_MODE = 0o755;

/** Makes a directory and those that it lies in, which get its owner and 0755; no error when it is there. */
export function makeDirectories(root: number, path: string, ownership: Ownership): void {
  const names = path.split("/").filter((name) => name !== "");
  let at = openInRoot(root, "/", O_PATH | O_DIRECTORY);
  try {
    for (const [index, name] of names.entries()) {
      const prefix = `/${names.slice(0, index + 1).join("/")}`;
      const mode = index === names.length - 1 ? ownership.mode : PARENT_MODE;
      const next = openDirectory(root, prefix) ?? makeOrOpen(root, at, name, prefix, { ...ownership, mode });
      closeFd(at);
      at = next;
    }
  } finally {
    closeFd(at);
  }
}

function openDirectory(root: number, path: string): number | undefined {
  try {
    return openInRoot(root, path, O_PATH | O_DIRECTORY);
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw error;
  }
}

function makeOrOpen(root: number, parent: number, name: string, path: string, ownership: Ownership): number {
  try {
    return makeDirectoryAt(parent, name, ownership);
  } catch (error) {
    if (errnoOf(error) !== "EEXIST") throw error;
    const fd = openDirectory(root, path); // somebody was faster
    if (fd === undefined) throw fileErrno("EEXIST", path, "a symbolic link is there that leads nowhere");
    return fd;
  }
}

/** Makes a directory and opens it (O_PATH). */
export function makeDirectoryAt(dir: number, name: string | Uint8Array, { mode, uid, gid }: Ownership): number {
  requireThawed(dir);
  mkdirAt(dir, name, 0o700);
  const fd = openAt(dir, name, O_PATH | O_DIRECTORY | O_NOFOLLOW);
  try {
    setOwnerAndMode(fd, uid, gid, mode);
    return fd;
  } catch (error) {
    closeFd(fd);
    throw error;
  }
}

/** A symbolic link that says `target`, or a hard link to the file at that path. */
export function makeLink(root: number, path: string, target: string, hard: boolean): void {
  const { dir, name, slash } = openParent(root, path);
  withFd(dir, () => {
    if (slash) throw fileErrno("ENOENT", path, "a link is no directory");
    requireThawed(dir, path);
    if (!hard) return symlinkAt(target, dir, name);
    withFd(openInRoot(root, target, O_PATH | O_NOFOLLOW), (fd) => {
      if (fstatSync(fd).isDirectory()) throw fileErrno("EISDIR", target, "a directory has no hard links");
      linkAt(fd, dir, name);
    });
  });
}

/** rename(2): replaces what is at `to`, unless `exclusive`. */
export function move(root: number, from: string, to: string, exclusive: boolean): void {
  const source = openParent(root, from);
  withFd(source.dir, () => {
    const destination = openParent(root, to);
    withFd(destination.dir, () => {
      if (source.slash || destination.slash) requireDirectory(source.dir, source.name, from);
      requireThawed(destination.dir, to);
      try {
        renameAt(source.dir, source.name, destination.dir, destination.name, { noReplace: exclusive });
      } catch (error) {
        if (errnoOf(error) !== "EINVAL") throw error;
        throw invalidPath(to, "a directory cannot be moved into itself");
      }
    });
  });
}

/** A path that ends with a slash names a directory. */
export function requireDirectory(dir: number, name: string, path: string): void {
  withFd(openAt(dir, name, O_PATH | O_NOFOLLOW), (fd) => {
    if (!fstatSync(fd).isDirectory()) throw fileErrno("ENOTDIR", path);
  });
}

/** What SetAttributes changes; times in nanoseconds since 1970. */
export interface Attributes {
  mode: number | undefined;
  uid: number | undefined;
  gid: number | undefined;
  modifiedNs: bigint | undefined;
  accessedNs: bigint | undefined;
}

export function setAttributes(root: number, path: string, follow: boolean, attributes: Attributes): void {
  const { mode, uid, gid, modifiedNs, accessedNs } = attributes;
  withFd(openInRoot(root, path, O_PATH | (follow ? 0 : O_NOFOLLOW)), (fd) => {
    const stat = statOf(fd);
    if (mode !== undefined && stat.isSymbolicLink()) {
      throw invalid("INVALID_MODE", "a symbolic link has no mode: `follow` it, or leave the mode out");
    }
    requireThawed(fd, path);
    if (uid !== undefined || gid !== undefined) {
      chownAt(fd, uid ?? -1, gid ?? -1);
      // chown(2) takes setuid and setgid from a file; only a mode that is asked for changes it here.
      if (mode === undefined && stat.isFile()) chmodFd(fd, Number(stat.mode & 0o7777n));
    }
    if (mode !== undefined) chmodFd(fd, mode);
    if (modifiedNs !== undefined || accessedNs !== undefined) setTimes(fd, accessedNs, modifiedNs);
  });
}
