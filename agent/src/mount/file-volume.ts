import { constants, fchmodSync, mkdirSync, openSync, readdirSync, rmdirSync, statfsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  chownAt,
  type FsOption,
  fsMount,
  MNT_DETACH,
  MOUNT_ATTR,
  mkdirAt,
  moveMount,
  openAt,
  openTree,
  readlinkBytesAt,
  reconfigureFs,
  renameAt,
  symlinkAt,
  unmountAt,
} from "@zone/native";
import { O_PATH, withFd } from "../descriptors.js";
import { errnoOf } from "../errors.js";
import type { MountedFile } from "./file-contents.js";
import { removeTree } from "./tree.js";

const FOLDER = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;
const NEW_FILE = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
const PAGE_BYTES = 4096;
/** Pages and inodes for the root, the links and a version's folder. */
const SLACK = 32;

/** The name of the link that says which version is the present one, and of the one that is about to be. */
const DATA = "..data";
const NEXT = "..data_tmp";
/** Where a mount that is itself a file has it. */
const SINGLE = "file";

/**
 * The in-memory file systems of "files" mounts: each is mounted at DIRECTORY/NAME, where the agent alone sees it and can write, and
 * what containers get is a bind mount of it. In it, as Kubernetes' AtomicWriter:
 *
 *     ..1          a version: a folder with all the files; the one before it is kept until the next
 *     ..data       -> ..1
 *     NAME         -> ..data/NAME     for each file or folder at the top
 *
 * so that renaming another link over ..data changes all files at once. What a container has done to a mount that it may write to
 * is not trusted: nothing here follows a link.
 */
export class FileVolumes {
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** Makes one; leaves nothing when it fails. Throws the errno. */
  create(name: string, files: readonly MountedFile[]): void {
    const path = join(this.#directory, name);
    mkdirSync(path, { recursive: true });
    try {
      const volume = fsMount(
        "tmpfs",
        [...sizeOf(files), ["mode", "0755"]],
        MOUNT_ATTR.NODEV | MOUNT_ATTR.NOSUID,
        "files",
      );
      withFd(volume, () =>
        withFd(openSync(path, O_PATH | constants.O_DIRECTORY), (target) => moveMount(volume, target)),
      );
      this.#withRoot(name, (root) => {
        const [only] = files;
        if (only?.path.length === 0) writeFile(root, SINGLE, only);
        else replace(root, files);
      });
    } catch (error) {
      this.remove(name);
      throw error;
    }
  }

  /** A detached bind mount of it. */
  bind(name: string, single: boolean): number {
    return this.#withRoot(name, (root) => {
      if (!single) return openTree("", {}, root);
      return withFd(openAt(root, SINGLE, O_PATH | constants.O_NOFOLLOW), (file) => openTree("", {}, file));
    });
  }

  /** Replaces all files by others. Throws the errno; then the old ones are still there. */
  update(name: string, files: readonly MountedFile[]): void {
    this.#withRoot(name, (root) => {
      removeStaleVersions(root);
      const { blocks, bfree, bsize, files: inodes, ffree } = statfsSync(`/proc/self/fd/${root}`);
      reconfigureFs(root, sizeOf(files, (blocks - bfree) * bsize, inodes - ffree));
      replace(root, files);
    });
  }

  /** Unmounts the agent's own mount; the file system goes with the last of the others. */
  remove(name: string): void {
    try {
      withFd(openSync(this.#directory, O_PATH | constants.O_DIRECTORY), (parent) =>
        unmountAt(parent, name, MNT_DETACH),
      );
    } catch (error) {
      if (!["EINVAL", "ENOENT"].includes(errnoOf(error) ?? "")) throw error; // it is not mounted
    }
    try {
      rmdirSync(join(this.#directory, name));
    } catch (error) {
      if (errnoOf(error) !== "ENOENT") throw error;
    }
  }

  /** Removes those that are not in `kept`: of an agent that ended while it made one. */
  keepOnly(kept: ReadonlySet<string>): void {
    mkdirSync(this.#directory, { recursive: true });
    for (const name of readdirSync(this.#directory)) if (!kept.has(name)) this.remove(name);
  }

  #withRoot<T>(name: string, use: (root: number) => T): T {
    return withFd(openSync(join(this.#directory, name), FOLDER), use);
  }
}

/** Room for the files, in pages, with a folder for each component, beside what is there already. */
function sizeOf(files: readonly MountedFile[], usedBytes = 0, usedInodes = 0): FsOption[] {
  const pages = files.reduce((sum, { data }) => sum + Math.ceil(data.length / PAGE_BYTES), 0);
  const inodes = files.reduce((sum, { path }) => sum + path.length + 1, 0);
  return [
    ["size", String(usedBytes + (pages + inodes + SLACK) * PAGE_BYTES)],
    ["nr_inodes", String(usedInodes + 2 * inodes + SLACK)],
  ];
}

function replace(root: number, files: readonly MountedFile[]): void {
  const version = nextVersion(root);
  try {
    writeVersion(root, version, files);
    removeTree(root, NEXT);
    symlinkAt(version, root, NEXT);
    renameAt(root, NEXT, root, DATA);
  } catch (error) {
    removeTree(root, version);
    throw error;
  }
  const tops = new Set(files.map(({ path }) => path[0] ?? ""));
  for (const top of tops) linkTop(root, top);
  for (const name of namesIn(root)) if (!name.startsWith("..") && !tops.has(name)) removeTree(root, name);
}

/** All but the present version. The one before it stays until the next update: a reader may be on its way into it. */
function removeStaleVersions(root: number): void {
  const current = linkTarget(root, DATA);
  for (const name of namesIn(root)) if (/^\.\.\d+$/.test(name) && name !== current) removeTree(root, name);
}

function writeVersion(root: number, version: string, files: readonly MountedFile[]): void {
  mkdirAt(root, version, 0o755);
  withFd(openAt(root, version, FOLDER), (top) => {
    fchmodSync(top, 0o755);
    for (const file of files) writeBelow(top, file.path, file);
  });
}

function writeBelow(folder: number, [name = "", ...rest]: readonly string[], file: MountedFile): void {
  if (rest.length === 0) {
    writeFile(folder, name, file);
    return;
  }
  try {
    mkdirAt(folder, name, 0o755);
  } catch (error) {
    if (errnoOf(error) !== "EEXIST") throw error; // another file's folder
  }
  withFd(openAt(folder, name, FOLDER), (below) => writeBelow(below, rest, file));
}

function writeFile(folder: number, name: string, { data, mode, uid, gid }: MountedFile): void {
  withFd(openAt(folder, name, NEW_FILE, 0o600), (fd) => {
    writeFileSync(fd, data);
    chownAt(fd, uid, gid);
    fchmodSync(fd, mode);
  });
}

/** The link at the top; another thing in its place is the container's, and goes. */
function linkTop(root: number, name: string): void {
  const target = `${DATA}/${name}`;
  if (linkTarget(root, name) === target) return;
  removeTree(root, name);
  symlinkAt(target, root, name);
}

/** A number higher than any that is there. */
function nextVersion(root: number): string {
  const numbers = namesIn(root).flatMap((name) => /^\.\.(\d{1,15})$/.exec(name)?.[1] ?? []);
  return `..${Math.max(0, ...numbers.map(Number)) + 1}`;
}

function linkTarget(root: number, name: string): string | undefined {
  try {
    return withFd(openAt(root, name, O_PATH | constants.O_NOFOLLOW), (fd) => readlinkBytesAt(fd).toString());
  } catch (error) {
    if (["ENOENT", "EINVAL"].includes(errnoOf(error) ?? "")) return undefined; // nothing, or no link
    throw error;
  }
}

function namesIn(folder: number): string[] {
  return readdirSync(`/proc/self/fd/${folder}`, "utf8");
}
