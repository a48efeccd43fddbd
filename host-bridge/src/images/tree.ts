import { refuse, shown } from "./image-error.js";
import type { ImageLimits } from "./limits.js";

/** What every node has. Sizes in bytes; `xattrs` by full name. */
export interface NodeMetadata {
  /** Permission bits with setuid, setgid and sticky. */
  mode: number;
  uid: number;
  gid: number;
  mtime: { seconds: number; nanoseconds: number };
  xattrs: ReadonlyMap<string, Buffer>;
}

export interface DirectoryNode extends NodeMetadata {
  kind: "directory";
  /** Names have one character a byte. */
  children: Map<string, Dirent>;
  depth: number;
  /** The newest layer for which `hideLower` has been done. */
  hiddenFor: number;
}

/** Its content lies on the disk from `block` on. */
export interface FileNode extends NodeMetadata {
  kind: "file";
  size: number;
  block: number;
}

export interface SymlinkNode extends NodeMetadata {
  kind: "symlink";
  target: string;
}

export interface SpecialNode extends NodeMetadata {
  kind: "character" | "block" | "fifo";
  major: number;
  minor: number;
}

export type TreeNode = DirectoryNode | FileNode | SymlinkNode | SpecialNode;

/** A name of a node. Two names with the same node are hard links. */
export interface Dirent {
  node: TreeNode;
  /** The layer that gave it this name (for a folder: the newest one with an entry for it). */
  layer: number;
}

const ROOT_METADATA: NodeMetadata = {
  mode: 0o755,
  uid: 0,
  gid: 0,
  mtime: { seconds: 0, nanoseconds: 0 },
  xattrs: new Map(),
};

/**
 * The merged file system of an image, in memory. Nothing of it ever touches the host's file system, so no name, link or
 * device in it can do anything to the host: ".." of the root is the root, and a symbolic link only leads within the tree.
 */
export class ImageTree {
  readonly root: DirectoryNode = directory(ROOT_METADATA, 0);
  readonly #limits: ImageLimits;
  #nodes = 1;
  #steps = 0;

  constructor(limits: ImageLimits) {
    this.#limits = limits;
  }

  /**
   * The folder that `components` lead to, links followed within the tree as the kernel would below this root.
   * Folders that are missing are made (mode 0755, root's), as containerd does. A path through something else is refused.
   */
  resolveDirectory(components: readonly string[], layer: number): DirectoryNode {
    const above: DirectoryNode[] = [];
    let at = this.root;
    let follows = 0;
    const pending = [...components].reverse();
    for (let name = pending.pop(); name !== undefined; name = pending.pop()) {
      if (++this.#steps > this.#limits.pathSteps) refuse("its paths and links take too long to follow");
      if (name === "" || name === ".") continue;
      if (name === "..") {
        at = above.pop() ?? this.root;
        continue;
      }
      const node = at.children.get(name)?.node ?? this.#addMissing(at, name, layer);
      if (node.kind === "directory") {
        above.push(at);
        at = node;
      } else if (node.kind === "symlink") {
        if (++follows > this.#limits.linkFollows) refuse(`too many symbolic links at ${shown(name)}`);
        if (node.target.startsWith("/")) {
          above.length = 0;
          at = this.root;
        }
        pending.push(...node.target.split("/").reverse());
      } else {
        refuse(`${shown(name)} on its path is no folder`);
      }
    }
    return at;
  }

  /** Gives `node` a name, in place of what had it; a folder over a folder keeps the children. */
  put(parent: DirectoryNode, name: string, node: TreeNode, layer: number): void {
    const old = parent.children.get(name)?.node;
    if (old?.kind === "directory" && node.kind === "directory") {
      const { mode, uid, gid, mtime, xattrs } = node;
      Object.assign(old, { mode, uid, gid, mtime, xattrs });
      parent.children.set(name, { node: old, layer });
      return;
    }
    this.#count();
    parent.children.set(name, { node, layer });
  }

  /** A new folder below `parent`. */
  directory(parent: DirectoryNode, metadata: NodeMetadata): DirectoryNode {
    if (parent.depth >= this.#limits.depth) refuse(`folders lie more than ${this.#limits.depth} deep in each other`);
    return directory(metadata, parent.depth + 1);
  }

  #addMissing(parent: DirectoryNode, name: string, layer: number): DirectoryNode {
    if (name.length > this.#limits.componentBytes) refuse(`the name ${shown(name)} is too long`);
    const made = this.directory(parent, ROOT_METADATA);
    this.#count();
    parent.children.set(name, { node: made, layer });
    return made;
  }

  #count(): void {
    if (++this.#nodes > this.#limits.entries) refuse(`it has more than ${this.#limits.entries} files`);
  }
}

/** Removes what layers below `layer` put into `folder`; what this layer put there stays, with the folders on the way to it. */
export function hideLower(folder: DirectoryNode, layer: number): void {
  if (folder.hiddenFor === layer) return; // a layer can repeat a whiteout a million times
  folder.hiddenFor = layer;
  for (const name of folder.children.keys()) hideLowerName(folder, name, layer);
}

/** Removes what layers below `layer` have under this name (a whiteout never hides what its own layer has). */
export function hideLowerName(folder: DirectoryNode, name: string, layer: number): void {
  const entry = folder.children.get(name);
  if (entry === undefined) return;
  if (entry.node.kind === "directory") {
    hideLower(entry.node, layer);
    if (entry.node.children.size > 0) return;
  }
  if (entry.layer < layer) folder.children.delete(name);
}

function directory(metadata: NodeMetadata, depth: number): DirectoryNode {
  return { kind: "directory", ...metadata, children: new Map(), depth, hiddenFor: -1 };
}
