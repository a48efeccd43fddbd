import { BLOCK } from "./block-writer.js";
import { crc32c } from "./crc32c.js";
import type { TreeNode } from "./tree.js";

/*
 * Records of the erofs on-disk format: the kernel's fs/erofs/erofs_fs.h, and erofs.docs.kernel.org's "Core on-disk format".
 * Of it only what every kernel since 5.4 reads: 4 KiB blocks, extended inodes, no compression, no chunks, inline attributes.
 */

const MAGIC = 0xe0f5e1e2;
const SUPERBLOCK_OFFSET = 1024;
const COMPAT_CHECKSUM = 1;
const COMPAT_MTIME = 2;
const BLOCK_BITS = 12;

export const INODE_SIZE = 64;
/** Inodes begin at multiples of this; a node id (nid) counts them. */
export const INODE_SLOT = 32;
const DIRENT_SIZE = 12;

const EXTENDED = 1;
const LAYOUT_SHIFT = 1;
const LAYOUT_PLAIN = 0;
/** The part of the content that does not fill a block follows the inode. */
const LAYOUT_INLINE = 2;

/** From fs_types.h (FT_*) and stat(2) (S_IF*). */
const FILE_TYPES = { file: 1, directory: 2, character: 3, block: 4, fifo: 5, symlink: 7 } as const;
const MODES = {
  file: 0o100000,
  directory: 0o040000,
  character: 0o020000,
  block: 0o060000,
  fifo: 0o010000,
  symlink: 0o120000,
} as const;

/** Prefixes that a number stands for. */
const XATTR_PREFIXES = [
  { index: 2, prefix: "system.posix_acl_access" },
  { index: 3, prefix: "system.posix_acl_default" },
  { index: 1, prefix: "user." },
  { index: 4, prefix: "trusted." },
  { index: 6, prefix: "security." },
] as const;

export interface Superblock {
  uuid: Buffer;
  inodes: number;
  /** Of the whole disk. */
  blocks: number;
  /** Where inodes begin. */
  metaBlock: number;
  rootNid: number;
}

/** The first block of the disk. */
export function encodeSuperblock({ uuid, inodes, blocks, metaBlock, rootNid }: Superblock): Buffer {
  const block = Buffer.alloc(BLOCK);
  const at = block.subarray(SUPERBLOCK_OFFSET);
  at.writeUInt32LE(MAGIC, 0);
  at.writeUInt32LE(COMPAT_CHECKSUM | COMPAT_MTIME, 8);
  at.writeUInt8(BLOCK_BITS, 12);
  at.writeUInt16LE(rootNid, 14);
  at.writeBigUInt64LE(BigInt(inodes), 16);
  at.writeUInt32LE(blocks, 36);
  at.writeUInt32LE(metaBlock, 40);
  uuid.copy(at, 48, 0, 16);
  at.writeUInt32LE(crc32c(at), 4); // over the rest of the block, the checksum itself zero
  return block;
}

/** What an inode says apart from its node's own metadata. */
export interface InodeFields {
  /** Bytes of content. */
  size: number;
  /** Whether content follows the inode (LAYOUT_INLINE). */
  inline: boolean;
  /** First block of content, or a device number. */
  union: number;
  links: number;
  /** A small number for the inode; only 32-bit stat() sees it. */
  number: number;
}

/** An inode with its attributes; inline content comes right after it. */
export function encodeInode(node: TreeNode, { size, inline, union, links, number }: InodeFields): Buffer {
  const xattrs = encodeXattrs(node.xattrs);
  const inode = Buffer.alloc(INODE_SIZE + xattrs.length);
  inode.writeUInt16LE(EXTENDED | ((inline ? LAYOUT_INLINE : LAYOUT_PLAIN) << LAYOUT_SHIFT), 0);
  inode.writeUInt16LE(xattrs.length === 0 ? 0 : (xattrs.length - XATTR_HEADER_SIZE) / 4 + 1, 2);
  inode.writeUInt16LE(MODES[node.kind] | node.mode, 4);
  inode.writeBigUInt64LE(BigInt(size), 8);
  inode.writeUInt32LE(union, 16);
  inode.writeUInt32LE(number, 20);
  inode.writeUInt32LE(node.uid, 24);
  inode.writeUInt32LE(node.gid, 28);
  inode.writeBigInt64LE(BigInt(node.mtime.seconds), 32);
  inode.writeUInt32LE(node.mtime.nanoseconds, 40);
  inode.writeUInt32LE(links, 44);
  xattrs.copy(inode, INODE_SIZE);
  return inode;
}

/** Linux's 32-bit device number: new_encode_dev(). */
export function encodeDevice(major: number, minor: number): number {
  return ((minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12)) >>> 0;
}

const XATTR_HEADER_SIZE = 12;

/** Bytes that a node's attributes take after its inode. */
export function xattrsSize(xattrs: ReadonlyMap<string, Buffer>): number {
  if (xattrs.size === 0) return 0;
  let size = XATTR_HEADER_SIZE;
  for (const [name, value] of xattrs) size += xattrEntrySize(name.length - prefixOf(name).length, value.length);
  return size;
}

function encodeXattrs(xattrs: ReadonlyMap<string, Buffer>): Buffer {
  const bytes = Buffer.alloc(xattrsSize(xattrs));
  let at = XATTR_HEADER_SIZE; // the header's fields are all zero: no shared attributes, no name filter
  for (const name of [...xattrs.keys()].sort()) {
    const value = xattrs.get(name) ?? Buffer.alloc(0);
    const { index, length } = prefixOf(name);
    bytes.writeUInt8(name.length - length, at);
    bytes.writeUInt8(index, at + 1);
    bytes.writeUInt16LE(value.length, at + 2);
    bytes.write(name.slice(length), at + 4, "latin1");
    value.copy(bytes, at + 4 + name.length - length);
    at += xattrEntrySize(name.length - length, value.length);
  }
  return bytes;
}

function xattrEntrySize(nameLength: number, valueLength: number): number {
  return Math.ceil((4 + nameLength + valueLength) / 4) * 4;
}

function prefixOf(name: string): { index: number; length: number } {
  const found = XATTR_PREFIXES.find(({ prefix }) => name.startsWith(prefix));
  if (found === undefined) throw new RangeError(`erofs cannot hold an attribute named ${name}`);
  return { index: found.index, length: found.prefix.length };
}

/** An entry of a folder. The name has one character a byte. */
export interface FolderEntry {
  name: string;
  kind: TreeNode["kind"];
  nid: number;
}

/** How many of `names`, which are sorted bytewise, go into each block of a folder, and how much of the last block they fill. */
export function splitFolder(names: readonly string[]): { counts: number[]; lastBytes: number } {
  const counts: number[] = [];
  let count = 0;
  let bytes = 0;
  for (const { length } of names) {
    if (bytes + DIRENT_SIZE + length > BLOCK) {
      counts.push(count);
      count = 0;
      bytes = 0;
    }
    count += 1;
    bytes += DIRENT_SIZE + length;
  }
  counts.push(count);
  return { counts, lastBytes: bytes };
}

/** One block of a folder, without the zeros at its end: all entries, then all names. */
export function encodeFolderBlock(entries: readonly FolderEntry[]): Buffer {
  const names = Buffer.from(entries.map(({ name }) => name).join(""), "latin1");
  const header = Buffer.alloc(entries.length * DIRENT_SIZE);
  let nameOffset = header.length;
  for (const [index, { name, kind, nid }] of entries.entries()) {
    const at = index * DIRENT_SIZE;
    header.writeBigUInt64LE(BigInt(nid), at);
    header.writeUInt16LE(nameOffset, at + 8);
    header.writeUInt8(FILE_TYPES[kind], at + 10);
    nameOffset += name.length;
  }
  return Buffer.concat([header, names]);
}
