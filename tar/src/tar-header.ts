import { refuse } from "./tar-error.js";

export const TAR_BLOCK = 512;

/** The fields of one 512-byte header, before extended headers change them. Strings have one character a byte. */
export interface TarHeader {
  typeFlag: string;
  name: string;
  linkName: string;
  mode: number;
  uid: number;
  gid: number;
  size: number;
  mtime: number;
  major: number;
  minor: number;
}

/** Decodes a ustar, GNU, star or V7 header; undefined for a block of zeros. A wrong checksum or number is refused. */
export function decodeTarHeader(block: Buffer): TarHeader | undefined {
  if (!hasValidSum(block)) return undefined;
  const name = text(block, 0, 100);
  const prefix = prefixOf(block);
  return {
    typeFlag: String.fromCharCode(block[156] ?? 0),
    name: prefix === "" ? name : `${prefix}/${name}`,
    linkName: text(block, 157, 100),
    mode: number(block, 100, 8, "mode"),
    uid: number(block, 108, 8, "uid"),
    gid: number(block, 116, 8, "gid"),
    size: number(block, 124, 12, "size"),
    mtime: number(block, 136, 12, "mtime"),
    major: number(block, 329, 8, "device number"),
    minor: number(block, 337, 8, "device number"),
  };
}

/** The first part of a long name. Only ustar and star have one; GNU keeps other things in its place. */
function prefixOf(block: Buffer): string {
  if (block.toString("latin1", 257, 263) !== "ustar\0") return "";
  const star = block.toString("latin1", 508, 512) === "tar\0";
  return text(block, 345, star ? 131 : 155);
}

/** False for a block of zeros, which ends an archive; a sum that is wrong is refused. */
function hasValidSum(block: Buffer): boolean {
  let sum = 0;
  let large = 0; // bytes of 128 and more: some old tars summed signed characters
  for (let i = 0; i < TAR_BLOCK; i++) {
    const byte = block[i] ?? 0;
    sum += byte;
    if (byte >= 128) large += 1;
  }
  if (sum === 0) return false;
  for (let i = 148; i < 156; i++) {
    const byte = block[i] ?? 0; // the sum's own field counts as spaces
    sum += 0x20 - byte;
    if (byte >= 128) large -= 1;
  }
  const stored = number(block, 148, 8, "checksum");
  if (stored !== sum && stored !== sum - 256 * large) {
    refuse("not a tar archive, or a damaged one: a header's checksum is wrong");
  }
  return true;
}

function text(block: Buffer, offset: number, length: number): string {
  const field = block.toString("latin1", offset, offset + length);
  const end = field.indexOf("\0");
  return end < 0 ? field : field.slice(0, end);
}

/** An octal number, or GNU's base-256 when the first bit is set (two's complement). */
function number(block: Buffer, offset: number, length: number, what: string): number {
  const first = block.readUInt8(offset);
  if ((first & 0x80) !== 0) return base256(block.subarray(offset, offset + length), what);
  // Padded with spaces and NULs on both sides; what follows a NUL does not count.
  const found = /^[ \0]*([0-7]*) *(?:\0.*)?$/s.exec(block.toString("latin1", offset, offset + length))?.[1];
  if (found === undefined) refuse(`a tar header's ${what} is not a number`);
  return found === "" ? 0 : Number.parseInt(found, 8);
}

function base256(field: Buffer, what: string): number {
  const negative = (field.readUInt8(0) & 0x40) !== 0;
  let value = BigInt(field.readUInt8(0) & 0x3f);
  if (negative) value -= 0x40n;
  for (const byte of field.subarray(1)) value = (value << 8n) | BigInt(byte);
  const result = Number(value);
  if (!Number.isSafeInteger(result)) refuse(`a tar header's ${what} is out of range`);
  return result;
}
