import { type BigIntStats, chmodSync, constants, fchmodSync, fstatSync, read, write } from "node:fs";
import { promisify } from "node:util";
import { chownAt, closeFd, mkdirAt, mknodAt, openAt, readlinkBytesAt, setTimes, symlinkAt } from "@zone/native";
import { O_PATH } from "../descriptors.js";
import { agentError, errnoOf } from "../errors.js";
import { MOUNT_LIMITS } from "./limits.js";
import { namesIn, removeTree } from "./tree.js";

const readFd = promisify(read);
const writeFd = promisify(write);

const FOLDER = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;
/** O_NONBLOCK: a FIFO that has come in a file's place must not hang the agent. */
const SOURCE_FILE = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
const NEW_FILE = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
const CHUNK_BYTES = 1024 * 1024;

function contentOf(folder: number): Buffer[] {
  return namesIn(folder).filter((name) => name.toString() !== "lost+found");
}

/** Whether a folder has nothing in it but what mkfs.ext4 makes. */
export function isEmptyFolder(folder: number): boolean {
  return contentOf(folder).length === 0;
}

/**
 * Copies what is in the folder `from` to the empty folder `to` (both descriptors that can be read), with owners, modes, times
 * and symbolic links, and gives `to` the owner and mode of `from`; what is mounted below `from` is left out, as are devices,
 * sockets and extended attributes. A hard link becomes a file of its own. Nothing is followed, so that a tree which is changed
 * meanwhile leads nowhere else. FILES_TOO_LARGE beyond the limits; leaves nothing when it fails.
 */
export async function copyUp(from: number, to: number): Promise<void> {
  const root = fstatSync(from, { bigint: true });
  const copy = new CopyUp(root.dev);
  try {
    await copy.folder(from, to, 0);
    copy.like(to, root);
  } catch (error) {
    for (const name of contentOf(to)) removeTree(to, name);
    if (errnoOf(error) === "ENOSPC") throw tooLarge("does not fit into the mount");
    throw error;
  }
}

class CopyUp {
  readonly #device: bigint;
  readonly #chunk = Buffer.allocUnsafe(CHUNK_BYTES);
  #entries = 0;
  #bytes = 0;

  constructor(device: bigint) {
    this.#device = device;
  }

  async folder(from: number, to: number, depth: number): Promise<void> {
    if (depth > MOUNT_LIMITS.copyUpDepth) throw tooLarge(`is deeper than ${MOUNT_LIMITS.copyUpDepth} folders`);
    for (const name of namesIn(from)) {
      this.#entries++;
      if (this.#entries > MOUNT_LIMITS.copyUpEntries)
        throw tooLarge(`has more than ${MOUNT_LIMITS.copyUpEntries} entries`);
      await this.#entry(from, to, name, depth);
    }
  }

  /** Owner, then mode: chown(2) takes set-user-ID bits away. Then the times. */
  like(fd: number, { uid, gid, mode, atimeNs, mtimeNs }: BigIntStats): void {
    chownAt(fd, Number(uid), Number(gid));
    fchmodSync(fd, Number(mode) & 0o7777);
    setTimes(fd, atimeNs, mtimeNs);
  }

  async #entry(from: number, to: number, name: Buffer, depth: number): Promise<void> {
    const path = openAt(from, name, O_PATH | constants.O_NOFOLLOW);
    try {
      const stats = fstatSync(path, { bigint: true });
      if (stats.isDirectory()) await this.#subfolder(from, to, name, stats, depth);
      else if (stats.isFile()) await this.#file(from, to, name);
      else if (stats.isSymbolicLink()) {
        symlinkAt(readlinkBytesAt(path), to, name);
        this.#likeSpecial(to, name, stats, false);
      } else if (stats.isFIFO()) {
        mknodAt(to, name, constants.S_IFIFO | 0o600, 0, 0);
        this.#likeSpecial(to, name, stats, true);
      }
    } finally {
      closeFd(path);
    }
  }

  async #subfolder(from: number, to: number, name: Buffer, stats: BigIntStats, depth: number): Promise<void> {
    if (stats.dev !== this.#device) return; // something else is mounted there
    const source = openAt(from, name, FOLDER);
    try {
      mkdirAt(to, name, 0o700);
      const target = openAt(to, name, FOLDER);
      try {
        await this.folder(source, target, depth + 1);
        this.like(target, fstatSync(source, { bigint: true }));
      } finally {
        closeFd(target);
      }
    } finally {
      closeFd(source);
    }
  }

  async #file(from: number, to: number, name: Buffer): Promise<void> {
    const source = openAt(from, name, SOURCE_FILE);
    try {
      const stats = fstatSync(source, { bigint: true });
      if (!stats.isFile()) return;
      const target = openAt(to, name, NEW_FILE, 0o600);
      try {
        await this.#content(source, target);
        this.like(target, stats);
      } finally {
        closeFd(target);
      }
    } finally {
      closeFd(source);
    }
  }

  async #content(source: number, target: number): Promise<void> {
    for (;;) {
      const { bytesRead } = await readFd(source, this.#chunk, 0, CHUNK_BYTES, null);
      if (bytesRead === 0) return;
      this.#bytes += bytesRead;
      if (this.#bytes > MOUNT_LIMITS.copyUpBytes) throw tooLarge(`has more than ${MOUNT_LIMITS.copyUpBytes} bytes`);
      for (let done = 0; done < bytesRead; ) {
        done += (await writeFd(target, this.#chunk, done, bytesRead - done, null)).bytesWritten;
      }
    }
  }

  #likeSpecial(to: number, name: Buffer, { uid, gid, mode, atimeNs, mtimeNs }: BigIntStats, withMode: boolean): void {
    const fd = openAt(to, name, O_PATH | constants.O_NOFOLLOW);
    try {
      chownAt(fd, Number(uid), Number(gid));
      if (withMode) chmodSync(`/proc/self/fd/${fd}`, Number(mode) & 0o7777);
      setTimes(fd, atimeNs, mtimeNs);
    } finally {
      closeFd(fd);
    }
  }
}

function tooLarge(what: string): Error {
  return agentError(
    "RESOURCE_EXHAUSTED",
    "FILES_TOO_LARGE",
    `copy_up copies no more: what the image has at the target ${what}`,
  );
}
