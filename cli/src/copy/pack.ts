import { constants } from "node:fs";
import { type FileHandle, lstat, open, opendir, readlink, stat } from "node:fs/promises";
import { encodeEntry, type SparseRegion, statEntry, TAR_END, tarPadding } from "@zone/tar";

const CHUNK_BYTES = 256 * 1024;
/** Holes are looked for in steps of a file system's block. */
const BLOCK_BYTES = 4096;
const MAX_REGIONS = 50_000;

export interface PackOptions {
  /** Follow a link at `path` itself. */
  readonly follow: boolean;
  /** Told of what is left out, and why. */
  leftOut(path: string, why: string): void;
}

/**
 * The tar stream of a file or directory of this host, in chunks of at most 256 KiB. `name`: of the first member; undefined: a
 * directory's content alone. Sockets and devices are left out.
 */
export async function* pack(path: string, name: string | undefined, options: PackOptions): AsyncGenerator<Buffer> {
  const chunks = new Chunks();
  const links = new Map<string, string>();

  async function* member(at: Buffer, memberName: string, isTop: boolean): AsyncGenerator<Buffer> {
    const info = await (isTop && options.follow ? stat(at, { bigint: true }) : lstat(at, { bigint: true }));
    if (info.isDirectory()) {
      yield* chunks.add(encodeEntry(statEntry(info, "directory", `${memberName}/`)));
      for await (const entry of await opendir(at, { encoding: "buffer" as BufferEncoding })) {
        const below = entry.name as unknown as Buffer;
        yield* member(Buffer.concat([at, Buffer.from("/"), below]), `${memberName}/${below.toString("latin1")}`, false);
      }
      return;
    }
    const key = `${info.dev}:${info.ino}`;
    const first = info.nlink > 1n ? links.get(key) : undefined;
    if (first !== undefined) return yield* chunks.add(encodeEntry(statEntry(info, "hardlink", memberName, first)));
    if (info.isFile()) yield* regular(at, memberName, isTop && options.follow, chunks);
    else if (info.isSymbolicLink()) {
      yield* chunks.add(
        encodeEntry(statEntry(info, "symlink", memberName, (await readlink(at, "buffer")).toString("latin1"))),
      );
    } else if (info.isFIFO()) yield* chunks.add(encodeEntry(statEntry(info, "fifo", memberName)));
    else return options.leftOut(at.toString(), info.isSocket() ? "a socket" : "a device");
    if (info.nlink > 1n) links.set(key, memberName);
  }

  yield* member(Buffer.from(path), name === undefined ? "." : Buffer.from(name).toString("latin1"), true);
  yield* chunks.add(TAR_END);
  yield* chunks.rest();
}

async function* regular(path: Buffer, name: string, follow: boolean, chunks: Chunks): AsyncGenerator<Buffer> {
  // A file that has become something else meanwhile is not waited for.
  const flags = constants.O_RDONLY | constants.O_NONBLOCK | (follow ? 0 : constants.O_NOFOLLOW);
  const file = await open(path, flags);
  try {
    const info = await file.stat({ bigint: true });
    if (!info.isFile()) throw new Error(`${path} has changed while it was being copied`);
    const size = Number(info.size);
    const regions = info.blocks * 512n < info.size ? await dataOf(file, size) : undefined;
    yield* chunks.add(encodeEntry(statEntry(info, "file", name, "", regions)));
    let written = 0;
    for (const { offset, length } of regions ?? [{ offset: 0, length: size }]) {
      yield* chunks.fill(file, offset, length);
      written += length;
    }
    yield* chunks.add(tarPadding(written));
  } finally {
    await file.close();
  }
}

/** Where a file has more than zeros: Node has no SEEK_DATA. */
async function dataOf(file: FileHandle, size: number): Promise<SparseRegion[]> {
  const regions: { offset: number; length: number }[] = [];
  const buffer = Buffer.allocUnsafe(CHUNK_BYTES);
  const zeros = Buffer.alloc(BLOCK_BYTES);
  for (let at = 0; at < size; ) {
    const { bytesRead } = await file.read(buffer, 0, buffer.length, at);
    if (bytesRead === 0) break;
    for (let from = 0; from < bytesRead; from += BLOCK_BYTES) {
      const block = buffer.subarray(from, Math.min(from + BLOCK_BYTES, bytesRead));
      if (block.equals(zeros.subarray(0, block.length))) continue;
      const last = regions.at(-1);
      const offset = at + from;
      if (last && (last.offset + last.length === offset || regions.length >= MAX_REGIONS)) {
        last.length = offset + block.length - last.offset;
      } else regions.push({ offset, length: block.length });
    }
    at += bytesRead;
  }
  return regions.map(({ offset, length }) => ({ offset, length: Math.min(length, size - offset) }));
}

/** Collects bytes into chunks, each a buffer of its own. */
class Chunks {
  #buffer = Buffer.allocUnsafeSlow(CHUNK_BYTES);
  #used = 0;

  *add(bytes: Buffer): Generator<Buffer> {
    for (let at = 0; at < bytes.length; ) {
      const count = bytes.copy(this.#buffer, this.#used, at);
      at += count;
      this.#used += count;
      if (this.#used === this.#buffer.length) yield* this.rest();
    }
  }

  /** A part of a file; what the file lacks by now is zeros. */
  async *fill(file: FileHandle, offset: number, length: number): AsyncGenerator<Buffer> {
    for (let done = 0; done < length; ) {
      const room = Math.min(this.#buffer.length - this.#used, length - done);
      const { bytesRead } = await file.read(this.#buffer, this.#used, room, offset + done);
      if (bytesRead === 0) this.#buffer.fill(0, this.#used, this.#used + room);
      const count = bytesRead || room;
      done += count;
      this.#used += count;
      if (this.#used === this.#buffer.length) yield* this.rest();
    }
  }

  *rest(): Generator<Buffer> {
    if (this.#used === 0) return;
    yield this.#buffer.subarray(0, this.#used);
    this.#buffer = Buffer.allocUnsafeSlow(CHUNK_BYTES);
    this.#used = 0;
  }
}
