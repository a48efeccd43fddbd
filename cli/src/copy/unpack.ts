import { constants } from "node:fs";
import {
  chmod,
  type FileHandle,
  lchown,
  link,
  lstat,
  lutimes,
  mkdir,
  open,
  statfs,
  symlink,
  unlink,
  utimes,
} from "node:fs/promises";
import { ByteSource, shown, type TarEntry, TarError, TarReader } from "@zone/tar";
import { LocalDirectory } from "./local-directory.js";
import type { Place } from "./place.js";

export interface UnpackOptions {
  /** Give everything the archive's owners, and keep setuid and setgid. */
  readonly archive: boolean;
  /** Told of what is left out, and why. */
  leftOut(name: string, why: string): void;
}

/** What a zone's archive may make us do. */
const LIMITS = {
  entries: 5_000_000,
  pathBytes: 4095,
  nameBytes: 255,
  /** Directories whose times are set, and rights taken away, when all is there; of more they are left. */
  directories: 100_000,
  /** What is left free on the destination's file system: this, or a twentieth of what is free when that is less. */
  reserveBytes: 256 * 1024 * 1024,
};

/**
 * Unpacks a tar stream that comes from a zone, so from a stranger: each member's first name, which CopyOut was asked for, is
 * taken off, and what is left lies below `place`. Directories are opened one name at a time, links on the way are refused;
 * absolute names, "..", devices and other things than files, directories and links do not come into being.
 */
export async function unpack(chunks: AsyncIterable<Buffer>, place: Place, options: UnpackOptions): Promise<void> {
  const base = await LocalDirectory.open(place.directory);
  try {
    const { bavail, bsize } = await statfs(place.directory);
    const free = bavail * bsize;
    const unpacking = new Unpacking(base, place.name, options, free - Math.min(LIMITS.reserveBytes, free / 20));
    const tar = new TarReader(new ByteSource(chunks));
    for (let entry = await tar.next(); entry !== undefined; entry = await tar.next()) {
      try {
        await unpacking.entry(tar, entry);
      } catch (error) {
        const why = error instanceof Error ? error.message : String(error);
        throw new TarError(`cannot unpack ${shown(entry.name)}: ${why}`);
      }
    }
    await unpacking.finish();
  } finally {
    await base.close();
  }
}

const refuse = (why: string): never => {
  throw new TarError(why);
};

class Unpacking {
  readonly #base: LocalDirectory;
  readonly #name: string | undefined;
  readonly #options: UnpackOptions;
  #room: number;
  #entries = 0;
  /** What directories get when all is in them. */
  readonly #later = new Map<string, { seconds: number; mode: number }>();

  constructor(base: LocalDirectory, name: string | undefined, options: UnpackOptions, room: number) {
    this.#base = base;
    this.#name = name === undefined ? undefined : Buffer.from(name).toString("latin1");
    this.#options = options;
    this.#room = room;
  }

  async entry(tar: TarReader, entry: TarEntry): Promise<void> {
    if (++this.#entries > LIMITS.entries) refuse(`the archive has more than ${LIMITS.entries} members`);
    const names = this.#namesOf(entry.name);
    const name = names.pop();
    if (name === undefined) {
      // A directory whose content alone is wanted: it is there already.
      return entry.kind === "directory" ? undefined : refuse("it is not a directory");
    }
    const directory = await this.#base.descend(names);
    await this.#make(tar, entry, directory, name, [...names, name].join("/"));
  }

  async finish(): Promise<void> {
    // The deepest first: a folder that may not be entered any more has nothing left to be done in it.
    for (const [path, { seconds, mode }] of [...this.#later].reverse()) {
      const directory = await this.#base.descend(path.split("/"));
      if ((mode & 0o700) !== 0o700) await chmod(directory.path("."), mode);
      await utimes(directory.path("."), seconds, seconds);
    }
  }

  async #make(tar: TarReader, entry: TarEntry, directory: LocalDirectory, name: string, full: string): Promise<void> {
    const path = directory.path(name);
    const seconds = entry.mtime.seconds + entry.mtime.nanoseconds / 1e9;
    switch (entry.kind) {
      case "directory":
        await this.#directory(path, entry);
        if (this.#later.size < LIMITS.directories) this.#later.set(full, { seconds, mode: this.#mode(entry) });
        return;
      case "file": {
        await clear(path);
        const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
        const file = await open(path, flags, 0o600);
        try {
          await this.#content(tar, entry, file);
          if (this.#options.archive) await chownIfRoot(() => file.chown(entry.uid, entry.gid));
          await file.chmod(this.#mode(entry));
          await file.utimes(seconds, seconds);
        } finally {
          await file.close();
        }
        return;
      }
      case "symlink":
        if (entry.linkName === "" || entry.linkName.length > LIMITS.pathBytes) refuse("its link is empty or too long");
        await clear(path);
        await symlink(Buffer.from(entry.linkName, "latin1"), path);
        if (this.#options.archive) await chownIfRoot(() => lchown(path, entry.uid, entry.gid));
        return lutimes(path, seconds, seconds);
      case "hardlink":
        return this.#hardLink(entry.linkName, path);
      default:
        this.#options.leftOut(shown(entry.name), entry.kind === "fifo" ? "a FIFO" : "a device");
    }
  }

  async #directory(path: Buffer, entry: TarEntry): Promise<void> {
    const there = await lstat(path).catch(ifMissing);
    if (there && !there.isDirectory()) refuse("a directory cannot replace what is there");
    if (!there) await mkdir(path, 0o700);
    const directory = await open(path, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
    try {
      if (this.#options.archive) await chownIfRoot(() => directory.chown(entry.uid, entry.gid));
      // Its content is still to come: we may have to write into it.
      await directory.chmod(this.#mode(entry) | 0o700);
    } finally {
      await directory.close();
    }
  }

  async #content(tar: TarReader, entry: TarEntry, file: FileHandle): Promise<void> {
    let end = 0;
    for await (const { offset, chunk } of tar.pieces()) {
      this.#room -= chunk.length;
      if (this.#room < 0) refuse("it would fill the file system");
      for (let done = 0; done < chunk.length; ) {
        done += (await file.write(chunk, done, chunk.length - done, offset + done)).bytesWritten;
      }
      end = offset + chunk.length;
    }
    if (end < entry.size) await file.truncate(entry.size);
  }

  async #hardLink(target: string, path: Buffer): Promise<void> {
    const names = this.#namesOf(target);
    const name = names.pop() ?? refuse("it is a hard link to the directory itself");
    const directory = await this.#base.openBelow(names);
    try {
      const from = directory.path(name);
      const [there, same] = [await lstat(from), await lstat(path).catch(ifMissing)];
      if (there.isDirectory()) refuse("it is a hard link to a directory");
      if (same?.ino === there.ino && same.dev === there.dev) return;
      await clear(path);
      await link(from, path); // link(2) follows no link at its end
    } finally {
      await directory.close();
    }
  }

  /** The names below the base. The first in the archive is what CopyOut was asked to call it: "x". */
  #namesOf(path: string): string[] {
    if (path.startsWith("/")) refuse("its path is absolute");
    if (path.length > LIMITS.pathBytes) refuse("its path is too long");
    const [first, ...names] = path.split("/").filter((name) => name !== "" && name !== ".");
    if (first !== "x") refuse("it is none of what was asked for");
    for (const name of names) {
      if (name === "..") refuse('".." in a path may lead out');
      if (name.length > LIMITS.nameBytes) refuse("a name in its path is too long");
    }
    return this.#name === undefined ? names : [this.#name, ...names];
  }

  /** A stranger's setuid program would be ours. */
  #mode({ mode }: TarEntry): number {
    return mode & (this.#options.archive ? 0o7777 : 0o1777);
  }
}

/** Makes room for something that is no directory. */
async function clear(path: Buffer): Promise<void> {
  const there = await lstat(path).catch(ifMissing);
  if (!there) return;
  if (there.isDirectory()) refuse("it cannot replace a directory");
  if (!there.isFile() && !there.isSymbolicLink()) refuse("it cannot replace a device, a FIFO or a socket of this host");
  await unlink(path);
}

async function chownIfRoot(chown: () => Promise<void>): Promise<void> {
  if (process.geteuid?.() === 0) await chown();
}

function ifMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code !== "ENOENT") throw error;
}
