import { encodePax } from "./members.js";
import { encodeSparseMap, sparseRecords } from "./sparse.js";
import type { TarEntry, TarKind } from "./tar-entry.js";
import { TAR_BLOCK } from "./tar-header.js";
import { encodeMember } from "./tar-writer.js";

export { encodePax };

const TYPE_FLAGS: Record<TarKind, string> = {
  file: "0",
  hardlink: "1",
  symlink: "2",
  character: "3",
  block: "4",
  directory: "5",
  fifo: "6",
};

const NAME_BYTES = 100;
const MAX_OCTAL_7 = 0o7777777;
const MAX_OCTAL_11 = 0o77777777777;
const ASCII = /^[ -~]*$/;

/** What ends an archive: two blocks of zeros. */
export const TAR_END: Buffer = Buffer.alloc(2 * TAR_BLOCK);

const ZEROS = Buffer.alloc(TAR_BLOCK);

/** The zeros that fill up a member whose content has `bytes`. */
export function tarPadding(bytes: number): Buffer {
  return ZEROS.subarray(0, (TAR_BLOCK - (bytes % TAR_BLOCK)) % TAR_BLOCK);
}

/**
 * Headers of one member: ustar, with a pax header before it where ustar cannot say it (long names and links, bytes beyond
 * ASCII, large numbers, fractions of seconds, extended attributes), and a sparse file's map after it. The file's data
 * follows (of a sparse file its regions, one after the other), then `tarPadding` of their length.
 */
export function encodeEntry(entry: Omit<TarEntry, "major" | "minor"> & { major?: number; minor?: number }): Buffer {
  const { kind, name, linkName, mode, uid, gid, size, sparse, mtime, xattrs } = entry;
  const records: Record<string, string | Buffer> = {};
  const regions = kind === "file" ? sparse : undefined;
  if (regions) Object.assign(records, sparseRecords(name, size));
  else if (name.length > NAME_BYTES || !ASCII.test(name)) records.path = name;
  if (linkName.length > NAME_BYTES || !ASCII.test(linkName)) records.linkpath = linkName;
  if (uid > MAX_OCTAL_7) records.uid = String(uid);
  if (gid > MAX_OCTAL_7) records.gid = String(gid);
  const plainTime = mtime.nanoseconds === 0 && mtime.seconds >= 0 && mtime.seconds <= MAX_OCTAL_11;
  if (!plainTime) records.mtime = decimalTime(mtime);
  for (const [key, value] of xattrs) records[`SCHILY.xattr.${key}`] = value;
  const map = regions && encodeSparseMap(regions, size);
  const data = regions ? regions.reduce((sum, { length }) => sum + length, 0) : size;
  const stored = kind === "file" ? (map?.length ?? 0) + data : 0;
  if (stored > MAX_OCTAL_11) records.size = String(stored);
  const parts: Buffer[] = [];
  if (Object.keys(records).length > 0) {
    parts.push(encodeMember({ name: "PaxHeaders/0", typeFlag: "x", content: encodePax(records) }));
  }
  parts.push(
    encodeMember({
      name: name.slice(0, NAME_BYTES),
      typeFlag: TYPE_FLAGS[kind],
      mode,
      uid: Math.min(uid, MAX_OCTAL_7),
      gid: Math.min(gid, MAX_OCTAL_7),
      size: Math.min(stored, MAX_OCTAL_11),
      mtime: Math.min(Math.max(0, mtime.seconds), MAX_OCTAL_11),
      linkName: linkName.slice(0, NAME_BYTES),
      major: entry.major ?? 0,
      minor: entry.minor ?? 0,
    }),
  );
  if (map) parts.push(map);
  return Buffer.concat(parts);
}

/** Seconds with nine digits after the point; before 1970 with a minus (the nanoseconds of a time always add). */
function decimalTime({ seconds, nanoseconds }: TarEntry["mtime"]): string {
  if (seconds >= 0) return `${seconds}.${String(nanoseconds).padStart(9, "0")}`;
  if (nanoseconds === 0) return String(seconds);
  return `-${-(seconds + 1)}.${String(1e9 - nanoseconds).padStart(9, "0")}`;
}
