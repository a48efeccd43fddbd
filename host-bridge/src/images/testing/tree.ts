import { open } from "node:fs/promises";
import { join } from "node:path";
import { ByteSource, TarReader } from "@zone/tar";
import { BlockWriter } from "../block-writer.js";
import { applyLayer } from "../layer.js";
import { DEFAULT_LIMITS, type ImageLimits, tarLimits } from "../limits.js";
import { type DirectoryNode, ImageTree, type TreeNode } from "../tree.js";

/** A tar reader over chunks of `chunkBytes`. */
export function tarReader(tar: Buffer, chunkBytes = 1000, limits = DEFAULT_LIMITS): TarReader {
  async function* chunks() {
    for (let at = 0; at < tar.length; at += chunkBytes) yield tar.subarray(at, at + chunkBytes);
  }
  return new TarReader(new ByteSource(chunks()), tarLimits(limits));
}

/** Applies layers, given as tars, to a tree; contents go to a file in `directory`. */
export async function treeOf(
  directory: string,
  layers: Buffer[],
  changes: Partial<ImageLimits> = {},
): Promise<ImageTree> {
  const limits = { ...DEFAULT_LIMITS, ...changes };
  const disk = await open(join(directory, "data"), "w");
  try {
    const unpacking = {
      tree: new ImageTree(limits),
      data: new BlockWriter(disk),
      limits,
      entries: 0,
      metadataBytes: 0,
    };
    for (const [index, layer] of layers.entries()) {
      await applyLayer(unpacking, tarReader(layer, 10_000, limits), index, new AbortController().signal);
    }
    return unpacking.tree;
  } finally {
    await disk.close();
  }
}

/** All nodes by path, the root's being "". */
export function flatten(root: DirectoryNode): Map<string, TreeNode> {
  const nodes = new Map<string, TreeNode>([["", root]]);
  const visit = (folder: DirectoryNode, prefix: string): void => {
    for (const [name, { node }] of folder.children) {
      nodes.set(prefix + name, node);
      if (node.kind === "directory") visit(node, `${prefix}${name}/`);
    }
  };
  visit(root, "");
  return nodes;
}
