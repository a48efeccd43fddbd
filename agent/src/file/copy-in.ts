import { constants, fstatSync, ftruncateSync } from "node:fs";
import { setImmediate } from "node:timers/promises";
import { chownAt, closeFd, linkAt, mknodAt, openAt, setTimes, symlinkAt, unlinkAt } from "@zone/native";
import { ZoneError } from "@zone/proto";
import { ByteSource, shown, type TarEntry, TarError, TarReader } from "@zone/tar";
import { O_PATH, withFd } from "../descriptors.js";
import { errnoOf, invalid } from "../errors.js";
import { ArchiveBase, componentsOf, refuse } from "./archive-base.js";
import { chmodFd, createFile, O_NOFOLLOW, O_WRONLY, setOwnerAndMode, statOf, writeAll } from "./descriptors.js";
import { makeDirectoryAt, type Ownership } from "./edit.js";
import { fileErrno, fileError, requireThawed } from "./file-error.js";
import { FILE_LIMITS } from "./limits.js";
import { NameMap } from "./name-map.js";
import { removeTree } from "./remove.js";
import { removeLeft, unlinkIfThere } from "./write.js";

export interface CopyInWish {
  path: string;
  /** Instead of the archive's. */
  uid: number | undefined;
  gid: number | undefined;
  noReplaceTypes: boolean;
}

export interface Copied {
  entries: number;
  bytes: number;
}

/** Unpacks an archive into the directory at `path`. When it fails, the error says how much has been unpacked. */
export async function copyIn(
  root: number,
  wish: CopyInWish,
  chunks: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): Promise<Copied> {
  const base = ArchiveBase.open(root, wish.path);
  const unpacking = new Unpacking(base, wish, signal);
  try {
    await unpacking.all(new TarReader(new ByteSource(buffers(chunks))));
    return unpacking.copied;
  } catch (error) {
    throw withCopied(error, wish.path, unpacking.copied);
  } finally {
    base.close();
  }
}

async function* buffers(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Buffer> {
  for await (const { buffer, byteOffset, byteLength } of chunks) yield Buffer.from(buffer, byteOffset, byteLength);
}

function withCopied(thrown: unknown, path: string, { entries, bytes }: Copied): ZoneError {
  const error = thrown instanceof TarError ? invalid("INVALID_ARCHIVE", thrown.message) : fileError(thrown, path);
  const { code, reason, domain, resource } = error;
  return new ZoneError({
    ...{ code, reason, domain },
    ...(resource && { resource }),
    message: `${error.message}; ${entries} entries with ${bytes} bytes have been unpacked`,
    metadata: { ...error.metadata, entries: String(entries), bytes: String(bytes) },
    cause: error,
  });
}

/** Of directories that a path in the archive only implies. */
const PARENT: Ownership = { uid: 0, gid: 0, mode: 0o755 };
const NS = 1_000_000_000n;

class Unpacking {
  readonly copied: Copied = { entries: 0, bytes: 0 };
  readonly #base: ArchiveBase;
  readonly #wish: CopyInWish;
  readonly #signal: AbortSignal;
  /** Set at the end: filling a directory changes its time. */
  readonly #times = new NameMap<bigint>(FILE_LIMITS.directoryTimes, FILE_LIMITS.directoryTimeBytes);

  constructor(base: ArchiveBase, wish: CopyInWish, signal: AbortSignal) {
    this.#base = base;
    this.#wish = wish;
    this.#signal = signal;
  }

  async all(tar: TarReader): Promise<void> {
    for (let entry = await tar.next(); entry !== undefined; entry = await tar.next()) {
      try {
        await this.#entry(tar, entry);
      } catch (error) {
        if (error instanceof TarError) throw new TarError(`member ${shown(entry.name)}: ${error.message}`);
        throw fileError(error, `${this.#wish.path}/${Buffer.from(entry.name, "latin1")}`);
      }
      if (this.copied.entries % FILE_LIMITS.batch === 0) await setImmediate();
      this.#signal.throwIfAborted();
    }
    this.#setDirectoryTimes();
  }

  async #entry(tar: TarReader, entry: TarEntry): Promise<void> {
    const names = componentsOf(entry.name);
    const name = names.pop();
    if (name === undefined) {
      // The directory itself, which was there before: its mode and owner are left, as docker does.
      return entry.kind === "directory" ? undefined : refuse("only a directory can be the directory itself");
    }
    const dir = this.#base.directory(names, this.#ownership(PARENT));
    const bytes = Buffer.from(name, "latin1");
    switch (entry.kind) {
      case "file":
        await this.#file(dir, bytes, tar, entry);
        break;
      case "directory":
        await this.#makeDirectory(dir, bytes, entry);
        this.#rememberTime(names.concat(name).join("/"), entry);
        break;
      case "symlink":
        if (entry.linkName === "" || entry.linkName.length > FILE_LIMITS.pathBytes)
          refuse("its link is empty or too long");
        await this.#make(dir, bytes, () => symlinkAt(Buffer.from(entry.linkName, "latin1"), dir, bytes));
        this.#own(dir, bytes, entry);
        break;
      case "fifo":
        await this.#make(dir, bytes, () => mknodAt(dir, bytes, constants.S_IFIFO | 0o600, 0, 0));
        this.#own(dir, bytes, entry);
        break;
      case "hardlink":
        await this.#hardLink(dir, bytes, entry.linkName);
        break;
      default:
        refuse("it is a device, which is not unpacked");
    }
    this.copied.entries += 1;
    this.copied.bytes += entry.size;
  }

  /** Calls `make`, which fails with EEXIST when something has the name; that is removed then. */
  async #make<T>(dir: number, name: Uint8Array, make: () => T): Promise<T> {
    for (let tries = 0; ; tries++) {
      requireThawed(dir, this.#pathOf(name));
      try {
        return make();
      } catch (error) {
        if (errnoOf(error) !== "EEXIST" || tries >= FILE_LIMITS.removeScans) throw error;
      }
      await this.#clear(dir, name);
    }
  }

  /** Removes what is to be replaced by something that is no directory. */
  async #clear(dir: number, name: Uint8Array): Promise<void> {
    requireThawed(dir, this.#pathOf(name));
    try {
      return unlinkAt(dir, name);
    } catch (error) {
      const errno = errnoOf(error) ?? "";
      if (errno === "ENOENT") return;
      if (errno !== "EISDIR" && errno !== "EPERM") throw error;
    }
    if (this.#wish.noReplaceTypes) throw fileErrno("EISDIR", this.#pathOf(name), "a directory is there");
    await removeTree(dir, name, this.#pathOf(name), this.#signal);
  }

  async #makeDirectory(dir: number, name: Uint8Array, entry: TarEntry): Promise<void> {
    const ownership = this.#ownership(entry);
    for (let tries = 0; ; tries++) {
      try {
        return closeFd(makeDirectoryAt(dir, name, ownership));
      } catch (error) {
        if (errnoOf(error) !== "EEXIST" || tries >= FILE_LIMITS.removeScans) throw error;
      }
      const there = openIfThere(dir, name);
      if (there === undefined) continue;
      const merged = withFd(there, (fd) => {
        if (!fstatSync(fd).isDirectory()) return false;
        setOwnerAndMode(fd, ownership.uid, ownership.gid, ownership.mode);
        return true;
      });
      if (merged) return;
      if (this.#wish.noReplaceTypes)
        throw fileErrno("ENOTDIR", this.#pathOf(name), "something else than a directory is there");
      unlinkIfThere(dir, name);
    }
  }

  async #file(dir: number, name: Uint8Array, tar: TarReader, entry: TarEntry): Promise<void> {
    const fd = await this.#make(dir, name, () => createFile(dir, name, O_WRONLY));
    try {
      let end = 0;
      for await (const { offset, chunk } of tar.pieces()) {
        await writeAll(fd, chunk, offset);
        end = offset + chunk.length;
        this.#signal.throwIfAborted();
      }
      requireThawed(fd);
      if (end < entry.size) ftruncateSync(fd, entry.size);
      const { uid, gid, mode } = this.#ownership(entry);
      setOwnerAndMode(fd, uid, gid, mode);
      setTimes(fd, undefined, timeOf(entry));
    } catch (error) {
      removeLeft(dir, name); // half of it is of no use
      throw error;
    } finally {
      closeFd(fd);
    }
  }

  async #hardLink(dir: number, name: Uint8Array, target: string): Promise<void> {
    const path = componentsOf(target).join("/");
    if (path === "") refuse("a hard link cannot lead to the directory itself");
    const fd = this.#base.openTarget(path);
    try {
      if (fstatSync(fd).isDirectory()) refuse(`it is a hard link to ${shown(target)}, which is a directory`);
      const there = openIfThere(dir, name);
      if (there !== undefined && withFd(there, (other) => isSame(fd, other))) return;
      await this.#make(dir, name, () => linkAt(fd, dir, name));
    } finally {
      closeFd(fd);
    }
  }

  /** Owner and time of the link or FIFO that has just been made; mode too, but of links, which have none. */
  #own(dir: number, name: Uint8Array, entry: TarEntry): void {
    withFd(openAt(dir, name, O_PATH | O_NOFOLLOW), (fd) => {
      const { uid, gid, mode } = this.#ownership(entry);
      const stat = fstatSync(fd);
      if (!stat.isSymbolicLink() && !stat.isFIFO()) return; // somebody has put another file there already
      requireThawed(fd);
      chownAt(fd, uid, gid);
      if (stat.isFIFO()) chmodFd(fd, mode);
      setTimes(fd, undefined, timeOf(entry));
    });
  }

  #ownership({ uid, gid, mode }: Ownership): Ownership {
    return { uid: this.#wish.uid ?? uid, gid: this.#wish.gid ?? gid, mode };
  }

  #rememberTime(path: string, entry: TarEntry): void {
    this.#times.set(path, timeOf(entry), path);
  }

  #setDirectoryTimes(): void {
    for (const [path, time] of this.#times) {
      const fd = this.#base.openIfThere(path);
      if (fd !== undefined)
        withFd(fd, () => {
          requireThawed(fd, Buffer.from(path, "latin1").toString());
          setTimes(fd, undefined, time);
        });
    }
  }

  #pathOf(name: Uint8Array): string {
    return Buffer.from(name).toString();
  }
}

function openIfThere(dir: number, name: Uint8Array): number | undefined {
  try {
    return openAt(dir, name, O_PATH | O_NOFOLLOW);
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw error;
  }
}

function isSame(a: number, b: number): boolean {
  const [one, other] = [statOf(a), statOf(b)];
  return one.dev === other.dev && one.ino === other.ino;
}

function timeOf({ mtime: { seconds, nanoseconds } }: TarEntry): bigint {
  return BigInt(seconds) * NS + BigInt(nanoseconds);
}
