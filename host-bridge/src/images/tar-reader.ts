import type { ByteSource } from "./byte-source.js";
import { refuse, shown } from "./image-error.js";
import type { ImageLimits } from "./limits.js";
import { decodePax, type PaxRecords, paxInteger, paxText, paxTime, XATTR_PREFIX } from "./pax.js";
import { decodeTarHeader, TAR_BLOCK, type TarHeader } from "./tar-header.js";

export type TarKind = "file" | "hardlink" | "symlink" | "character" | "block" | "directory" | "fifo";

/** One member of a tar archive. Names and targets have one character a byte, as they stand in the archive. */
export interface TarEntry {
  kind: TarKind;
  name: string;
  /** Of a hard or symbolic link. */
  linkName: string;
  /** Permission bits with setuid, setgid and sticky. */
  mode: number;
  uid: number;
  gid: number;
  /** Bytes of content; 0 for all but files. */
  size: number;
  mtime: { seconds: number; nanoseconds: number };
  major: number;
  minor: number;
  /** By full name, such as "security.capability". */
  xattrs: Map<string, Buffer>;
}

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
 * Sparse files and kinds that no image has are refused. Global pax headers are passed over, as Go's archive/tar does.
 */
export class TarReader {
  readonly #source: ByteSource;
  readonly #limits: ImageLimits;
  /** Content and padding of the current entry that have not been read. */
  #content = 0;
  #padding = 0;

  constructor(source: ByteSource, limits: ImageLimits) {
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

  /** The content of the current entry, in chunks that are valid until the next one is asked for. */
  async *content(): AsyncGenerator<Buffer> {
    while (this.#content > 0) {
      const chunk = (await this.#source.readSome(this.#content)) ?? refuse("the archive ends too early");
      this.#content -= chunk.length;
      yield chunk;
    }
  }

  #entry(header: TarHeader, records: PaxRecords, longName?: string, longLinkName?: string): TarEntry {
    const name = paxText(records, "path") ?? longName ?? header.name;
    const kind = kindOf(header, name);
    for (const key of records.keys()) {
      if (key.startsWith("GNU.sparse.")) refuse(`entry ${shown(name)} is a sparse file, which images do not have`);
    }
    const size = kind === "file" ? (paxInteger(records, "size") ?? header.size) : 0;
    if (size < 0) refuse(`entry ${shown(name)} has a negative size`);
    this.#content = size;
    this.#padding = paddingOf(size);
    return {
      kind,
      name,
      linkName: paxText(records, "linkpath") ?? longLinkName ?? header.linkName,
      mode: header.mode & 0o7777,
      uid: checkId(paxInteger(records, "uid") ?? header.uid, name),
      gid: checkId(paxInteger(records, "gid") ?? header.gid, name),
      size,
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
  if (kind === undefined)
    refuse(`entry ${shown(name)} is of a kind that images do not have (${shown(header.typeFlag)})`);
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
