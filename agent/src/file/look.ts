import { type Dir, lstatSync, opendirSync, readlinkSync } from "node:fs";
import { setImmediate } from "node:timers/promises";
import { closeFd, openInRoot, readlinkBytesAt } from "@zone/native";
import { O_PATH, withFd } from "../descriptors.js";
import { errnoOf } from "../errors.js";
import { O_DIRECTORY, O_NOFOLLOW, procPath, statOf } from "./descriptors.js";
import { type FileInfo, toFileInfo } from "./file-info.js";
import { FILE_LIMITS } from "./limits.js";
import { splitPath } from "./path.js";

/** What is at `path`; a link at its end itself, or what it leads to. */
export function statPath(root: number, path: string, follow: boolean): FileInfo {
  return withFd(openInRoot(root, path, O_PATH | (follow ? 0 : O_NOFOLLOW)), (fd) => infoOf(fd, path));
}

/** What an O_PATH descriptor is, which `path` has led to. */
export function infoOf(fd: number, path: string): FileInfo {
  const stat = statOf(fd);
  const name = splitPath(path).name ?? "/";
  return toFileInfo(name, stat, stat.isSymbolicLink() ? readlinkBytesAt(fd).toString() : undefined);
}

/**
 * The entries of a directory whose names come after `after`, in order, at most `limit`. Of a large directory no more than a
 * few pages of names are in memory. Names are compared as text; of those that are not UTF-8, two that look the same are one.
 */
export async function readDirectory(
  root: number,
  path: string,
  after: string,
  limit: number,
): Promise<{ files: FileInfo[]; more: boolean }> {
  const fd = openInRoot(root, path, O_PATH | O_DIRECTORY);
  try {
    let names: { text: string; bytes: Buffer }[] = [];
    let more = false;
    const keepFirst = () => {
      names.sort((a, b) => (a.text < b.text ? -1 : a.text > b.text ? 1 : 0));
      more ||= names.length > limit;
      names = names.slice(0, limit);
    };
    const folder = openEntries(fd);
    try {
      for (let bytes = folder.next(); bytes !== undefined; bytes = folder.next()) {
        const text = bytes.toString();
        if (text > after) names.push({ text, bytes });
        if (names.length < limit * 4) continue;
        keepFirst();
        await setImmediate();
      }
    } finally {
      folder.close();
    }
    keepFirst();
    const files: FileInfo[] = [];
    for (const { text, bytes } of names) {
      const info = entryInfo(fd, text, bytes);
      if (info) files.push(info);
      if (files.length % FILE_LIMITS.batch === 0) await setImmediate();
    }
    return { files, more };
  } finally {
    closeFd(fd);
  }
}

function entryInfo(dir: number, text: string, bytes: Buffer): FileInfo | undefined {
  const path = Buffer.concat([Buffer.from(`${procPath(dir)}/`), bytes]);
  try {
    const stat = lstatSync(path, { bigint: true });
    return toFileInfo(text, stat, stat.isSymbolicLink() ? readlinkSync(path, "buffer").toString() : undefined);
  } catch (error) {
    if (errnoOf(error) === "ENOENT" || errnoOf(error) === "EINVAL") return undefined; // gone, or no link any more
    throw error;
  }
}

/** The names in a directory, one after the other, as bytes. */
export interface Entries {
  next(): Buffer | undefined;
  close(): void;
}

/** Opens the directory that a descriptor is; O_PATH will do. */
export function openEntries(fd: number): Entries {
  const folder: Dir = opendirSync(procPath(fd), {
    encoding: "buffer" as BufferEncoding,
    bufferSize: FILE_LIMITS.batch,
  });
  return {
    // With this encoding names are Buffers, which the types do not know.
    next: () => folder.readSync()?.name as unknown as Buffer | undefined,
    close: () => folder.closeSync(),
  };
}
