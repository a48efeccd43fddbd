import type { TarEntry, TarReader } from "@zone/tar";
import type { BlockWriter } from "./block-writer.js";
import { asRefusal, refuse, shown, within } from "./image-error.js";
import type { ImageLimits } from "./limits.js";
import {
  type DirectoryNode,
  hideLower,
  hideLowerName,
  type ImageTree,
  type NodeMetadata,
  type TreeNode,
} from "./tree.js";

const WHITEOUT = ".wh.";
const OPAQUE = ".wh..wh..opq";
/** Begins the names of AUFS's own files, which very old images have; they are passed over. */
const AUFS = ".wh..wh.";

/** Linux's dev_t, as new_encode_dev() packs it: 12 bits of major, 20 of minor. */
const MAX_MAJOR = 0xfff;
const MAX_MINOR = 0xf_ffff;

/** Attributes that file systems keep for files; others (of macOS, of NFS) mean nothing here and are left out. */
const XATTR_NAMES = /^(?:(?:user|trusted|security)\..+|system\.posix_acl_(?:access|default))$/s;
/** The overlay that the zone lays above the image would obey these; the image must not steer it. */
const OVERLAY_XATTR = /^trusted\.overlay\./;

/** What all layers of one image share while they are applied. */
export interface Unpacking {
  tree: ImageTree;
  /** Where file contents go: each from a new block on. */
  data: BlockWriter;
  limits: ImageLimits;
  /** Counted over all layers. */
  entries: number;
  metadataBytes: number;
}

/**
 * Applies one layer, as image-spec's layer.md says and containerd does: entries replace what has their name, folders merge,
 * hard links may lead to lower layers, whiteouts hide lower layers only (wherever in the archive they stand).
 * An entry for the root itself is passed over, as Docker and containerd do. A name that begins with "/" means the image's
 * root (ko writes such); ".." is refused.
 * @param layer Number of the layer, ascending.
 */
export async function applyLayer(
  unpacking: Unpacking,
  tar: TarReader,
  layer: number,
  signal: AbortSignal,
): Promise<void> {
  const next = () =>
    tar.next().catch((error: unknown) => {
      throw asRefusal(error);
    });
  for (let entry = await next(); entry !== undefined; entry = await next()) {
    try {
      await applyEntry(unpacking, tar, entry, layer);
    } catch (error) {
      throw within(`entry ${shown(entry.name)}`, error);
    }
    signal.throwIfAborted();
  }
}

async function applyEntry(unpacking: Unpacking, tar: TarReader, entry: TarEntry, layer: number): Promise<void> {
  const { tree, limits } = unpacking;
  const xattrs = xattrsOf(entry, limits);
  account(unpacking, entry, xattrs);
  const folders = pathOf(entry.name, limits);
  if (folders.some((component) => component.startsWith(AUFS) && component !== OPAQUE)) return;
  const name = folders.pop();
  if (name === undefined) {
    if (entry.kind !== "directory") refuse("the root can only be a folder");
    return;
  }
  if (folders.some((component) => component.startsWith(WHITEOUT))) refuse("it lies below a whiteout");
  const parent = tree.resolveDirectory(folders, layer);
  if (name === OPAQUE) hideLower(parent, layer);
  else if (name.startsWith(WHITEOUT)) hideLowerName(parent, whitedOut(name), layer);
  else tree.put(parent, name, await nodeOf(unpacking, tar, entry, xattrs, parent, layer), layer);
}

async function nodeOf(
  { tree, data, limits }: Unpacking,
  tar: TarReader,
  entry: TarEntry,
  xattrs: ReadonlyMap<string, Buffer>,
  parent: DirectoryNode,
  layer: number,
): Promise<TreeNode> {
  const { mode, uid, gid, mtime, kind, size, linkName, major, minor } = entry;
  const metadata: NodeMetadata = { mode, uid, gid, mtime, xattrs };
  switch (kind) {
    case "directory":
      return tree.directory(parent, metadata);
    case "file": {
      // No builder makes them, and a block map would have to be written for them: image-spec's layer.md allows to refuse.
      if (entry.sparse) refuse("it is a sparse file, which images do not have");
      const block = size === 0 ? 0 : await data.startBlock();
      for await (const chunk of tar.content()) await data.write(chunk);
      return { kind, ...metadata, size, block };
    }
    case "symlink":
      if (linkName === "" || linkName.length >= limits.pathBytes) refuse("its link is empty or too long");
      return { kind, ...metadata, target: linkName };
    case "hardlink":
      return linked(tree, linkName, limits, layer);
    default:
      if (major < 0 || major > MAX_MAJOR || minor < 0 || minor > MAX_MINOR) {
        refuse(`no device has the number ${major}:${minor}`);
      }
      return { kind, ...metadata, major, minor };
  }
}

/** The node that a hard link's target names: below the image's root, the last component not followed. */
function linked(tree: ImageTree, linkName: string, limits: ImageLimits, layer: number): TreeNode {
  const components = pathOf(linkName, limits);
  const name = components.pop();
  const node = name === undefined ? tree.root : tree.resolveDirectory(components, layer).children.get(name)?.node;
  if (node === undefined) refuse(`it is a hard link to ${shown(linkName)}, which is not there`);
  if (node.kind === "directory") refuse(`it is a hard link to ${shown(linkName)}, which is a folder`);
  return node;
}

/** The components of a path in an archive; none for the root. */
function pathOf(path: string, limits: ImageLimits): string[] {
  if (path.length > limits.pathBytes) refuse(`its path has ${path.length} bytes; ${limits.pathBytes} are the most`);
  const components = path.split("/").filter((component) => component !== "" && component !== ".");
  for (const component of components) {
    if (component === "..") refuse('".." in a path may lead out of the image');
    if (component.length > limits.componentBytes) refuse(`the name ${shown(component)} is too long`);
  }
  return components;
}

function whitedOut(name: string): string {
  const hidden = name.slice(WHITEOUT.length);
  if (hidden === "" || hidden === "." || hidden === "..") refuse("it is a whiteout of nothing");
  return hidden;
}

function xattrsOf(entry: TarEntry, limits: ImageLimits): ReadonlyMap<string, Buffer> {
  // xattr(7): Linux has none for links and devices, and an overlay could not copy up a node that has one all the same.
  const hasUserXattrs = entry.kind === "file" || entry.kind === "directory";
  const kept = new Map<string, Buffer>();
  let bytes = 0;
  for (const [name, value] of entry.xattrs) {
    if (!XATTR_NAMES.test(name) || OVERLAY_XATTR.test(name) || (name.startsWith("user.") && !hasUserXattrs)) {
      continue;
    }
    bytes += name.length + value.length;
    if (name.length > limits.xattrNameBytes || name.includes("\0")) {
      refuse(`the attribute name ${shown(name)} is not valid`);
    }
    if (value.length > limits.xattrValueBytes) refuse(`its attribute ${shown(name)} has ${value.length} bytes`);
    if (bytes > limits.xattrBytes) refuse(`it has more than ${limits.xattrBytes} bytes of attributes`);
    kept.set(name, value);
  }
  return kept;
}

function account(unpacking: Unpacking, entry: TarEntry, xattrs: ReadonlyMap<string, Buffer>): void {
  const { limits } = unpacking;
  unpacking.entries += 1;
  unpacking.metadataBytes += entry.name.length + entry.linkName.length;
  for (const [name, value] of xattrs) unpacking.metadataBytes += name.length + value.length;
  if (unpacking.entries > limits.entries) refuse(`the image has more than ${limits.entries} entries`);
  if (unpacking.metadataBytes > limits.metadataBytes) {
    refuse("the image's names, links and attributes take too much memory");
  }
}
