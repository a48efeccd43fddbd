import type { ByteSource } from "./byte-source.js";
import { type PaxRecords, paxInteger, paxText } from "./pax.js";
import { refuse } from "./tar-error.js";
import { TAR_BLOCK } from "./tar-header.js";

/** Bytes of a sparse file that are in the archive; between regions, and up to the file's size, there are zeros. */
export interface SparseRegion {
  offset: number;
  length: number;
}

/** A file of which an archive has the data alone. */
export interface SparseFile {
  name: string;
  size: number;
  regions: SparseRegion[];
  /** Bytes of the map, padding included: what of the member's content is none of the file's. */
  mapBytes: number;
}

const PREFIX = "GNU.sparse.";

/** Whether extended records speak of a sparse file, in any of GNU tar's formats. */
export function hasSparseRecords(records: PaxRecords): boolean {
  for (const key of records.keys()) if (key.startsWith(PREFIX)) return true;
  return false;
}

/**
 * Reads the map that begins a sparse member's content: format 1.0, tar(5) "GNU tar pax archives". Decimal lines: the number
 * of regions, then each one's offset and length; filled up with NULs to a block. Formats 0.0 and 0.1 are refused.
 * @param stored Bytes of the member in the archive.
 */
export async function readSparseFile(
  source: ByteSource,
  records: PaxRecords,
  name: string,
  stored: number,
  maxRegions: number,
): Promise<SparseFile> {
  const version = [paxInteger(records, `${PREFIX}major`), paxInteger(records, `${PREFIX}minor`)];
  const size = paxInteger(records, `${PREFIX}realsize`);
  if (version[0] !== 1 || version[1] !== 0 || size === undefined) {
    refuse("a sparse file is in another format than GNU's pax 1.0 (tar --format=posix --sparse-version=1.0)");
  }
  const lines = new NumberLines(source, stored);
  const count = await lines.next();
  if (count > maxRegions) refuse(`a sparse file has ${count} regions, which is too much`);
  const regions: SparseRegion[] = [];
  let end = 0;
  let data = 0;
  for (let i = 0; i < count; i++) {
    const [offset, length] = [await lines.next(), await lines.next()];
    if (offset < end || offset + length > size) refuse("a sparse file's map is not in order, or leaves the file");
    end = offset + length;
    data += length;
    if (length > 0) regions.push({ offset, length });
  }
  if (data !== stored - lines.bytes) refuse("a sparse file's map and its data do not fit");
  return { name: paxText(records, `${PREFIX}name`) ?? name, size, regions, mapBytes: lines.bytes };
}

/** The numbers of a map, block by block. */
class NumberLines {
  /** Read so far. */
  bytes = 0;
  #text = "";

  constructor(
    readonly source: ByteSource,
    readonly stored: number,
  ) {}

  async next(): Promise<number> {
    let newline = this.#text.indexOf("\n");
    while (newline < 0) {
      if (this.bytes + TAR_BLOCK > this.stored || this.#text.length > TAR_BLOCK)
        refuse("a sparse file's map is broken");
      this.bytes += TAR_BLOCK;
      const block = (await this.source.read(TAR_BLOCK)) ?? refuse("the archive ends too early");
      this.#text += block.toString("latin1");
      newline = this.#text.indexOf("\n");
    }
    const line = this.#text.slice(0, newline);
    this.#text = this.#text.slice(newline + 1);
    const value = /^[0-9]{1,16}$/.test(line) ? Number(line) : Number.NaN;
    if (!Number.isSafeInteger(value)) refuse("a sparse file's map has a line that is no number");
    return value;
  }
}

/** The map of a sparse file, as readSparseFile reads it. A hole at the end is an empty region there: GNU tar wants one. */
export function encodeSparseMap(regions: readonly SparseRegion[], size: number): Buffer {
  const last = regions.at(-1);
  const all = last && last.offset + last.length === size ? regions : [...regions, { offset: size, length: 0 }];
  const lines = [all.length, ...all.flatMap(({ offset, length }) => [offset, length])];
  const text = Buffer.from(`${lines.join("\n")}\n`, "latin1");
  return Buffer.concat([text], Math.ceil(text.length / TAR_BLOCK) * TAR_BLOCK);
}

/** The records that say so. */
export function sparseRecords(name: string, size: number): Record<string, string> {
  return {
    [`${PREFIX}major`]: "1",
    [`${PREFIX}minor`]: "0",
    [`${PREFIX}name`]: name,
    [`${PREFIX}realsize`]: String(size),
  };
}
