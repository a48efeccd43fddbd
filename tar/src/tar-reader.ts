import type { ByteSource } from "./byte-source.js";
import { decodePax, type PaxRecords, paxInteger, paxText, paxTime, XATTR_PREFIX } from "./pax.js";
import { hasSparseRecords, readSparseFile, type SparseRegion } from "./sparse.js";
import type { TarEntry, TarKind } from "./tar-entry.js";
import { refuse, shown } from "./tar-error.js";
import { decodeTarHeader, TAR_BLOCK, type TarHeader } from "./tar-header.js";

const KIB = 1024;

/** What an archive may make its reader keep in memory. */
export interface TarLimits {
  /** One extended (pax) or GNU header, in bytes. */
  extendedHeaderBytes: number;
  /** Regions of one sparse file. */
  sparseRegions: number;
}

export const TAR_LIMITS: TarLimits = { extendedHeaderBytes: 1024 * KIB, sparseRegions: 100_000 };

const KINDS: Record<string, TarKind> = {
  "\0": "file",
  "0": "file",
  "1": "hardlink",
  "2": "symlink",
  "3": "character",
  "4": "block",
  "5": "directory",
  "6": "fifo",
  "7": "file",
};

const MAX_ID = 0xffff_fffe; // 2^32-1 is "no id" to chown

/**
 * Reads tar archives: ustar, V7, GNU long names and base-256 numbers, and pax with binary values (pax(1), tar(5)).
 * Not tar-stream: that decodes pax values as UTF-8, which destroys security.capability and names in other encodings.
 * Of sparse files it knows GNU's pax format 1.0; others, and kinds that only tape drives had, are refused. Global pax headers
 * are passed over, as Go's archive/tar does.
 */
export class TarReader {
  readonly #source: ByteSource;
  readonly #limits: TarLimits;
  /** Content and padding of the current entry that have not been read. */
  #content = 0;
  #padding = 0;
  /** Where the content goes: of a sparse file several. */
  #regions: readonly SparseRegion[] = [];

  constructor(source: ByteSource, limits: TarLimits = TAR_LIMITS) {
    this.#source = source;
    this.#limits = limits;
  }

  /** The next entry, passing over what was not read of the last one; undefined at the end, when all bytes have been read. */
  async next(): Promise<TarEntry | undefined> {
    await this.#source.skip(this.#content + this.#padding);
    this.#content = 0;
    this.#padding = 0;
    let records: PaxRecords = new Map();
    let longName: string | undefined;
    let longLinkName: string | undefined;
    for (;;) {
      const block = await this.#source.read(TAR_BLOCK);
      const header = block && decodeTarHeader(block);
      if (header === undefined) {
        if (records.size > 0 || longName !== undefined) refuse("the archive ends after an extended header");
        await this.#source.drain();
        return undefined;
      }
      if (header.typeFlag === "x") records = decodePax(await this.#extended(header));
      else if (header.typeFlag === "g") await this.#extended(header);
      else if (header.typeFlag === "L") longName = untilNul(await this.#extended(header));
      else if (header.typeFlag === "K") longLinkName = untilNul(await this.#extended(header));
      else return this.#entry(header, records, longName, longLinkName);
    }
  }

  /** The content of the current entry, in chunks that are valid until the next one is asked for; of a sparse file the data alone. */
  async *content(): AsyncGenerator<Buffer> {
    while (this.#content > 0) {
      const chunk = (await this.#source.readSome(this.#content)) ?? refuse("the archive ends too early");
      this.#content -= chunk.length;
      yield chunk;
    }
  }

  /** The same, each chunk with the offset in the file that it is for. */
  async *pieces(): AsyncGenerator<{ offset: number; chunk: Buffer }> {
    for (const { offset, length } of this.#regions) {
      for (let done = 0; done < length; ) {
        const chunk = (await this.#source.readSome(length - done)) ?? refuse("the archive ends too early");
        this.#content -= chunk.length;
        yield { offset: offset + done, chunk };
        done += chunk.length;
      }
    }
  }

  async #entry(header: TarHeader, records: PaxRecords, longName?: string, longLinkName?: string): Promise<TarEntry> {
    let name = paxText(records, "path") ?? longName ?? header.name;
    const kind = kindOf(header, name);
    const stored = kind === "file" ? (paxInteger(records, "size") ?? header.size) : 0;
    if (stored < 0) refuse(`entry ${shown(name)} has a negative size`);
    const sparse =
      kind === "file" && hasSparseRecords(records)
        ? await readSparseFile(this.#source, records, name, stored, this.#limits.sparseRegions)
        : undefined;
    if (sparse) name = sparse.name;
    this.#content = stored - (sparse?.mapBytes ?? 0);
    this.#padding = paddingOf(stored);
    this.#regions = sparse?.regions ?? [{ offset: 0, length: stored }];
    return {
      kind,
      name,
      linkName: paxText(records, "linkpath") ?? longLinkName ?? header.linkName,
      mode: header.mode & 0o7777,
      uid: checkId(paxInteger(records, "uid") ?? header.uid, name),
      gid: checkId(paxInteger(records, "gid") ?? header.gid, name),
      size: sparse?.size ?? stored,
      sparse: sparse?.regions,
      mtime: paxTime(records, "mtime") ?? { seconds: header.mtime, nanoseconds: 0 },
      major: header.major,
      minor: header.minor,
      xattrs: xattrsOf(records),
    };
  }

  async #extended(header: TarHeader): Promise<Buffer> {
    const { size } = header;
    if (size < 0 || size > this.#limits.extendedHeaderBytes)
      refuse(`an extended header has ${size} bytes, which is too much`);
    if (size === 0) return Buffer.alloc(0);
    const bytes = (await this.#source.read(size)) ?? refuse("the archive ends too early");
    await this.#source.skip(paddingOf(size));
    return bytes;
  }
}

function kindOf(header: TarHeader, name: string): TarKind {
  const kind = KINDS[header.typeFlag];
  if (kind === undefined) refuse(`entry ${shown(name)} is of a kind that is not supported (${shown(header.typeFlag)})`);
  return kind === "file" && name.endsWith("/") ? "directory" : kind; // V7 had no flag for folders
}

function checkId(id: number, name: string): number {
  if (id < 0 || id > MAX_ID) refuse(`entry ${shown(name)} has an owner or group out of range (${id})`);
  return id;
}

function xattrsOf(records: PaxRecords): Map<string, Buffer> {
  const xattrs = new Map<string, Buffer>();
  for (const [key, value] of records) {
    if (key.startsWith(XATTR_PREFIX)) xattrs.set(key.slice(XATTR_PREFIX.length), value);
  }
  return xattrs;
}

function paddingOf(size: number): number {
  return (TAR_BLOCK - (size % TAR_BLOCK)) % TAR_BLOCK;
}

function untilNul(bytes: Buffer): string {
  const end = bytes.indexOf(0);
  return bytes.toString("latin1", 0, end < 0 ? bytes.length : end);
}
