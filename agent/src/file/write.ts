import { randomBytes } from "node:crypto";
import type { BigIntStats } from "node:fs";
import { closeFd, openAt, readlinkBytesAt, renameAt, unlinkAt } from "@zone/native";
import { ZoneError } from "@zone/proto";
import { O_PATH, withFd } from "../descriptors.js";
import { errnoOf, invalid } from "../errors.js";
import {
  createFile,
  O_APPEND,
  O_NOFOLLOW,
  O_WRONLY,
  openParent,
  openRegular,
  setOwnerAndMode,
  statOf,
  writeAll,
} from "./descriptors.js";
import { fileErrno, requireThawed } from "./file-error.js";
import { FILE_LIMITS } from "./limits.js";

/** Where and how a file is written. */
export interface WriteWish {
  path: string;
  /** Undefined: of the file that is replaced, else 0644. */
  mode: number | undefined;
  uid: number | undefined;
  gid: number | undefined;
  /** Undefined: the file is replaced as a whole. */
  into: { at: "end" } | { at: "offset"; offset: number } | undefined;
  /** It must not be there yet. */
  exclusive: boolean;
  /** What a file that is replaced as a whole must come to; undefined: whatever comes. */
  size: number | undefined;
}

const NEW_MODE = 0o644;

/** Writes a file from chunks; the bytes written. Without `into` it is there as a whole or, when `confirm` rejects too, not at all. */
export function writeFile(
  root: number,
  wish: WriteWish,
  chunks: AsyncIterable<Uint8Array>,
  confirm: () => Promise<void>,
): Promise<number> {
  return wish.into ? writeInto(root, wish, wish.into, chunks) : replace(root, wish, chunks, confirm);
}

/** A name in an open directory, and what has it. */
interface Place {
  dir: number;
  name: string;
  there: BigIntStats | undefined;
}

/** A new file beside the old one, renamed over it when the last byte is there. */
async function replace(
  root: number,
  wish: WriteWish,
  chunks: AsyncIterable<Uint8Array>,
  confirm: () => Promise<void>,
): Promise<number> {
  const place = findPlace(root, wish);
  const { dir, name, there } = place;
  try {
    const temporary = `.zone-write-${randomBytes(8).toString("hex")}`;
    const fd = createFile(dir, temporary, O_WRONLY);
    try {
      const written = await copy(fd, 0, wish.size === undefined ? chunks : exactly(wish.size, chunks));
      own(fd, wish, there);
      await confirm();
      requireThawed(dir, wish.path);
      renameAt(dir, temporary, dir, name, { noReplace: wish.exclusive });
      return written;
    } catch (error) {
      removeLeft(dir, temporary);
      throw error;
    } finally {
      closeFd(fd);
    }
  } finally {
    closeFd(dir);
  }
}

async function writeInto(
  root: number,
  wish: WriteWish,
  into: NonNullable<WriteWish["into"]>,
  chunks: AsyncIterable<Uint8Array>,
): Promise<number> {
  const flags = O_WRONLY | (into.at === "end" ? O_APPEND : 0);
  const fd = openOrCreate(root, wish, flags);
  try {
    return await copy(fd, into.at === "end" ? undefined : into.offset, chunks);
  } finally {
    closeFd(fd);
  }
}

/** `from`: where the first byte goes; undefined: to the end, wherever that is at each write. */
async function copy(fd: number, from: number | undefined, chunks: AsyncIterable<Uint8Array>): Promise<number> {
  let written = 0;
  for await (const chunk of chunks) {
    await writeAll(fd, chunk, from === undefined ? null : from + written);
    written += chunk.length;
  }
  return written;
}

/** The chunks, if they are `size` bytes together. INVALID_SIZE, as soon as there are more. */
async function* exactly(size: number, chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let come = 0;
  for await (const chunk of chunks) {
    come += chunk.length;
    if (come > size) throw invalid("INVALID_SIZE", `more than the ${size} bytes of \`size\` have come`);
    yield chunk;
  }
  if (come < size) throw invalid("INVALID_SIZE", `${come} of the ${size} bytes of \`size\` have come`);
}

function openOrCreate(root: number, wish: WriteWish, flags: number): number {
  for (let tries = 0; ; tries++) {
    const { dir, name, there } = findPlace(root, wish);
    try {
      if (there) return withFd(openAt(dir, name, O_PATH | O_NOFOLLOW), (found) => openRegular(found, flags, wish.path));
      const fd = createFile(dir, name, flags);
      own(fd, wish, undefined);
      return fd;
    } catch (error) {
      // Somebody else has made or removed it since it was looked for.
      const errno = errnoOf(error) ?? "";
      if (wish.exclusive || tries >= FILE_LIMITS.linkFollows || !["EEXIST", "ENOENT"].includes(errno)) throw error;
    } finally {
      closeFd(dir);
    }
  }
}

/** Whose a new file is. chown(2) before chmod(2), which the former may undo. */
function own(fd: number, wish: WriteWish, replaced: BigIntStats | undefined): void {
  const uid = wish.uid ?? Number(replaced?.uid ?? 0n);
  const gid = wish.gid ?? Number(replaced?.gid ?? 0n);
  setOwnerAndMode(fd, uid, gid, wish.mode ?? (replaced ? Number(replaced.mode & 0o7777n) : NEW_MODE));
}

/**
 * The directory and name that a file is written to. Links at the path's end are followed as a process of the container
 * would follow them: a link in the directory P that says T is the same as P/T, resolved in the root again.
 */
function findPlace(root: number, { path, exclusive }: WriteWish): Place {
  let at = path;
  for (let follows = 0; follows <= FILE_LIMITS.linkFollows; follows++) {
    const { dir, name, slash, parent } = openParent(root, at);
    let next: string | undefined;
    try {
      const found = lookAt(dir, name);
      if (found?.stat && exclusive) throw fileErrno("EEXIST", path);
      if (found?.target === undefined) {
        if (slash || found?.stat.isDirectory()) throw fileErrno("EISDIR", path);
        if (found && !found.stat.isFile()) throw fileErrno("ENXIO", path);
        return { dir, name, there: found?.stat };
      }
      next = found.target.startsWith("/") ? found.target : `${parent}/${found.target}`;
      if (slash) next += "/";
    } catch (error) {
      closeFd(dir);
      throw error;
    }
    closeFd(dir);
    at = next;
  }
  throw fileErrno("ELOOP", path);
}

/** What has a name: as it is, or a symbolic link's target. */
function lookAt(dir: number, name: string): { stat: BigIntStats; target: string | undefined } | undefined {
  let fd: number;
  try {
    fd = openAt(dir, name, O_PATH | O_NOFOLLOW);
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw error;
  }
  return withFd(fd, () => {
    const stat = statOf(fd);
    return { stat, target: stat.isSymbolicLink() ? readlinkBytesAt(fd).toString() : undefined };
  });
}

/** Removes what has come to nothing. On a frozen file system it is left: its removal would wait for the thaw. */
export function removeLeft(dir: number, name: string | Uint8Array): void {
  try {
    unlinkIfThere(dir, name);
  } catch (error) {
    if (!(error instanceof ZoneError)) throw error; // MOUNT_FROZEN
  }
}

export function unlinkIfThere(dir: number, name: string | Uint8Array): void {
  requireThawed(dir);
  try {
    unlinkAt(dir, name);
  } catch (error) {
    if (errnoOf(error) !== "ENOENT") throw error;
  }
}
