import { complete, type Entry } from "./tree.js";

/*
 * The "newc" format, which the kernel unpacks as an initramfs: Documentation/driver-api/early-userspace/buffer-format.rst.
 * Every field that could differ between two builds is fixed: names are sorted, inodes count up from 1, owner and time are 0.
 */
const MAGIC = "070701";
const TRAILER = "TRAILER!!!";
const ALIGNMENT = 4;
/** Sizes are eight hexadecimal digits. */
const MAX_FILE_BYTES = 0xffff_ffff;

const S_IFDIR = 0o040000;
const S_IFCHR = 0o020000;
const S_IFREG = 0o100000;

interface Fields {
  inode: number;
  mode: number;
  links: number;
  size: number;
  major: number;
  minor: number;
}

/** The archive of the entries and of the folders that they need. Throws a RangeError on what the format cannot hold. */
export function cpio(entries: readonly Entry[]): Buffer {
  const parts: Buffer[] = [];
  for (const [index, entry] of complete(entries).entries()) {
    const content = entry.kind === "file" ? entry.content : new Uint8Array();
    if (content.length > MAX_FILE_BYTES) throw new RangeError(`"${entry.path}" is too large for a cpio archive`);
    parts.push(header(entry.path, { ...fieldsOf(entry), inode: index + 1, size: content.length }), pad(content));
  }
  parts.push(header(TRAILER, { inode: 0, mode: 0, links: 1, size: 0, major: 0, minor: 0 }));
  return Buffer.concat(parts);
}

function fieldsOf(entry: Entry): Pick<Fields, "mode" | "links" | "major" | "minor"> {
  switch (entry.kind) {
    case "directory":
      return { mode: S_IFDIR | entry.mode, links: 2, major: 0, minor: 0 };
    case "file":
      return { mode: S_IFREG | entry.mode, links: 1, major: 0, minor: 0 };
    case "character-device":
      return { mode: S_IFCHR | entry.mode, links: 1, major: entry.major, minor: entry.minor };
  }
}

function header(path: string, fields: Fields): Buffer {
  const name = Buffer.from(`${path}\0`);
  const values = [
    fields.inode,
    fields.mode,
    0, // uid
    0, // gid
    fields.links,
    0, // mtime
    fields.size,
    0, // major and minor of the device that the file was on
    0,
    fields.major,
    fields.minor,
    name.length,
    0, // checksum, which "newc" does not use
  ];
  const digits = values.map((value) => value.toString(16).padStart(8, "0")).join("");
  return pad(Buffer.concat([Buffer.from(MAGIC + digits), name]));
}

function pad(bytes: Uint8Array): Buffer {
  const padded = Buffer.alloc(Math.ceil(bytes.length / ALIGNMENT) * ALIGNMENT);
  padded.set(bytes);
  return padded;
}
