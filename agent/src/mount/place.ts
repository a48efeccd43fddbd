import { constants, fstatSync } from "node:fs";
import { closeFd, mkdirAt, openAt, openInRoot, unlinkAt } from "@zone/native";
import { O_PATH } from "../descriptors.js";
import { errnoOf } from "../errors.js";

const NEW_FILE = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;

export function isDirectory(fd: number): boolean {
  return (fstatSync(fd).mode & constants.S_IFMT) === constants.S_IFDIR;
}

/** What was made on the way to a place, to be removed when it comes to nothing. */
export class MadePlaces {
  readonly #made: { parent: number; name: string; directory: boolean }[] = [];

  /** Owns `parent` from now on. */
  add(parent: number, name: string, directory: boolean): void {
    this.#made.push({ parent, name, directory });
  }

  /** They stay. */
  keep(): void {
    for (const { parent } of this.#made.splice(0)) closeFd(parent);
  }

  /** Removes them, the last first. One that is not empty or gone is left: somebody in the container has a use for it. */
  remove(): void {
    for (const { parent, name, directory } of this.#made.splice(0).reverse()) {
      try {
        unlinkAt(parent, name, { directory });
      } catch (error) {
        if (!["ENOENT", "ENOTEMPTY", "EBUSY", "ENOTDIR", "EISDIR", "EROFS"].includes(errnoOf(error) ?? "")) throw error;
      } finally {
        closeFd(parent);
      }
    }
  }
}

/**
 * An O_PATH descriptor of `path` in the root `rootFd`, whose links never lead out of it; what is missing of it is made
 * (root, 0755; at its end a folder or an empty file), and told to `made`. Every step begins at the root again, so that whoever
 * changes the tree meanwhile can only choose another place in that root. Throws the errno of openat2(2) or mkdirat(2): ENOTDIR for a file
 * on the way, EEXIST for a link to nothing.
 */
export function openOrMake(rootFd: number, path: string, kind: "directory" | "file", made: MadePlaces): number {
  const found = tryOpen(rootFd, path);
  if (found !== undefined) return found;
  const components = path.split("/").filter((name) => name !== "");
  for (const [index, name] of components.entries()) {
    const sofar = components.slice(0, index + 1).join("/");
    const there = tryOpen(rootFd, sofar);
    if (there !== undefined) {
      closeFd(there);
      continue;
    }
    const parent = openInRoot(rootFd, components.slice(0, index).join("/") || ".", O_PATH | constants.O_DIRECTORY);
    const directory = kind === "directory" || index < components.length - 1;
    try {
      if (directory) mkdirAt(parent, name, 0o755);
      else closeFd(openAt(parent, name, NEW_FILE, 0o644));
    } catch (error) {
      closeFd(parent);
      throw error;
    }
    made.add(parent, name, directory);
  }
  return openInRoot(rootFd, path, O_PATH);
}

/** Undefined when it is not there. */
export function tryOpen(rootFd: number, path: string, flags = O_PATH): number | undefined {
  try {
    return openInRoot(rootFd, path, flags);
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw error;
  }
}
