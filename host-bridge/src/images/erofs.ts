import type { FileHandle } from "node:fs/promises";
import { setImmediate } from "node:timers/promises";
import { BLOCK, type BlockWriter } from "./block-writer.js";
import {
  encodeDevice,
  encodeFolderBlock,
  encodeInode,
  encodeSuperblock,
  type FolderEntry,
  INODE_SIZE,
  INODE_SLOT,
  splitFolder,
  xattrsSize,
} from "./erofs-format.js";
import type { DirectoryNode, TreeNode } from "./tree.js";

/*
 * The disk, from its start:  superblock | contents of files | blocks of folders and long links | inodes
 *
 * Contents are already there when this begins: they were streamed to their place from the layers. So the whole disk is
 * written once, front to back, and only the superblock needs to go back. Inodes stand at the end, in the order in which
 * folders are met (breadth first, names sorted), so that listing a folder reads neighbours, and equal trees give equal bytes.
 */

/** Where a node goes. */
interface Place {
  nid: number;
  links: number;
  size: number;
  inline: boolean;
  /** First block of content. */
  block: number;
  folder?: { parent: DirectoryNode; names: string[]; counts: number[] };
}

/** Nid 0 would be inode number 0, which readdir() takes for a deleted entry. */
const FIRST_INODE = INODE_SIZE;
const FOLDERS_AT_ONCE = 64;

/**
 * Finishes an erofs whose file contents stand in `disk` at the blocks that their nodes name. The first block must be free.
 * @param uuid 16 bytes for the volume's name; equal input gives an equal disk.
 * @returns its size in bytes.
 */
export async function finishErofs(
  disk: FileHandle,
  data: BlockWriter,
  root: DirectoryNode,
  uuid: Buffer,
): Promise<number> {
  const places = new Map<TreeNode, Place>();
  const metaBlock = await planAll(places, root, await data.startBlock());
  for (const [node, place] of places) await writeBlocks(data, places, node, place);
  await data.zerosTo(metaBlock * BLOCK);
  let number = 0;
  for (const [node, place] of places) {
    await data.zerosTo(metaBlock * BLOCK + place.nid * INODE_SLOT);
    const { size, inline, links } = place;
    await data.write(encodeInode(node, { size, inline, union: unionOf(node, place), links, number: ++number }));
    if (inline) await data.write(lastBlock(places, node, place));
  }
  const blocks = await data.startBlock();
  await data.flush();
  const rootNid = placeOf(places, root).nid;
  const superblock = encodeSuperblock({ uuid, inodes: places.size, blocks, metaBlock, rootNid });
  await disk.write(superblock, 0, BLOCK, 0);
  return blocks * BLOCK;
}

/** Gives every node its place, in the order of the map; answers with the block where inodes begin. */
async function planAll(places: Map<TreeNode, Place>, root: DirectoryNode, firstBlock: number): Promise<number> {
  let inodeAt = FIRST_INODE;
  let nextBlock = firstBlock;
  const folders: DirectoryNode[] = [];

  const plan = (node: TreeNode, parent: DirectoryNode): void => {
    const known = places.get(node);
    if (known !== undefined) {
      known.links += 1;
      return;
    }
    const { place, tail } = shape(node, parent);
    const head = INODE_SIZE + xattrsSize(node.xattrs);
    // Inline content must not cross a block's end, and neither may the inode: a record that would begins a new block.
    place.inline = tail > 0 && head + tail <= BLOCK;
    const record = head + (place.inline ? tail : 0);
    if ((inodeAt % BLOCK) + Math.min(record, BLOCK) > BLOCK) inodeAt = Math.ceil(inodeAt / BLOCK) * BLOCK;
    place.nid = inodeAt / INODE_SLOT;
    inodeAt = Math.ceil((inodeAt + record) / INODE_SLOT) * INODE_SLOT;
    if (node.kind === "directory" || node.kind === "symlink") {
      place.block = nextBlock;
      nextBlock += Math.ceil(place.size / BLOCK) - (place.inline ? 1 : 0);
    }
    places.set(node, place);
    if (node.kind === "directory") folders.push(node);
  };

  plan(root, root);
  for (const [index, folder] of folders.entries()) {
    if (index % FOLDERS_AT_ONCE === 0) await setImmediate(); // the bridge has other things to do
    for (const name of placeOf(places, folder).folder?.names ?? []) {
      const child = folder.children.get(name)?.node;
      if (child !== undefined) plan(child, folder);
    }
  }
  return nextBlock;
}

/** A node's place but for where it is, and how much of its content could follow the inode. */
function shape(node: TreeNode, parent: DirectoryNode): { place: Place; tail: number } {
  const place: Place = { nid: 0, links: 1, size: 0, inline: false, block: 0 };
  switch (node.kind) {
    case "directory": {
      // Sorted as bytes: names have one character a byte. "." and ".." stand among them, not before them.
      const names = [...node.children.keys()].sort();
      const { counts, lastBytes } = splitFolder(withDots(names));
      let subfolders = 0;
      for (const { node: child } of node.children.values()) if (child.kind === "directory") subfolders += 1;
      place.links = 2 + subfolders;
      place.size = (counts.length - 1) * BLOCK + lastBytes;
      place.folder = { parent, names, counts };
      return { place, tail: lastBytes };
    }
    case "symlink":
      place.size = node.target.length;
      return { place, tail: node.target.length };
    case "file":
      place.size = node.size;
      place.block = node.block;
      return { place, tail: 0 };
    default:
      return { place, tail: 0 };
  }
}

function withDots(names: readonly string[]): string[] {
  return [".", "..", ...names].sort();
}

function unionOf(node: TreeNode, place: Place): number {
  return node.kind === "character" || node.kind === "block" ? encodeDevice(node.major, node.minor) : place.block;
}

/** Writes the blocks of a folder or link that do not follow its inode. */
async function writeBlocks(
  data: BlockWriter,
  places: ReadonlyMap<TreeNode, Place>,
  node: TreeNode,
  place: Place,
): Promise<void> {
  if (node.kind === "symlink" && !place.inline) {
    await data.zerosTo(place.block * BLOCK);
    await data.write(Buffer.from(node.target, "latin1"));
  }
  if (node.kind !== "directory") return;
  const blocks = folderBlocks(places, node, place);
  if (place.inline) blocks.pop();
  for (const [index, block] of blocks.entries()) {
    await data.zerosTo((place.block + index) * BLOCK);
    await data.write(block);
  }
}

function lastBlock(places: ReadonlyMap<TreeNode, Place>, node: TreeNode, place: Place): Buffer {
  if (node.kind === "symlink") return Buffer.from(node.target, "latin1");
  return (node.kind === "directory" && folderBlocks(places, node, place).pop()) || Buffer.alloc(0);
}

function folderBlocks(places: ReadonlyMap<TreeNode, Place>, node: DirectoryNode, place: Place): Buffer[] {
  if (place.folder === undefined) throw new Error("a folder has no plan");
  const { parent, names, counts } = place.folder;
  const all = withDots(names);
  let from = 0;
  return counts.map((count) => {
    const block = all.slice(from, from + count).map((name): FolderEntry => {
      const child = name === "." ? node : name === ".." ? parent : node.children.get(name)?.node;
      if (child === undefined) throw new Error("a folder changed while it was written");
      return { name, kind: child.kind, nid: placeOf(places, child).nid };
    });
    from += count;
    return encodeFolderBlock(block);
  });
}

function placeOf(places: ReadonlyMap<TreeNode, Place>, node: TreeNode): Place {
  const place = places.get(node);
  if (place === undefined) throw new Error("a node has no place");
  return place;
}
