import { closeFd, openInRoot } from "@zone/native";
import { shown, TarError } from "@zone/tar";
import { O_PATH, withFd } from "../descriptors.js";
import { errnoOf } from "../errors.js";
import { O_DIRECTORY, O_NOFOLLOW, statOf } from "./descriptors.js";
import { makeDirectoryAt, type Ownership } from "./edit.js";
import { fileErrno } from "./file-error.js";
import { FILE_LIMITS } from "./limits.js";

/** Throws what becomes INVALID_ARCHIVE. */
export function refuse(message: string): never {
  throw new TarError(message);
}

/** The directory that an archive is unpacked into. Its paths are resolved in here, and whatever would lead out is refused. */
export class ArchiveBase {
  readonly #fd: number;
  /** RESOLVE_BENEATH, but in the root itself, which nothing leads out of: there absolute links are followed, too. */
  readonly #confine: { beneath: boolean };
  /** The directory of the last member: the next one's is often the same. */
  #parent: { path: string; fd: number } | undefined;

  private constructor(fd: number, isRoot: boolean) {
    this.#fd = fd;
    this.#confine = { beneath: !isRoot };
  }

  static open(root: number, path: string): ArchiveBase {
    const fd = openInRoot(root, path, O_PATH | O_DIRECTORY);
    const [of, ofRoot] = [statOf(fd), withFd(openInRoot(root, "/", O_PATH | O_DIRECTORY), statOf)];
    return new ArchiveBase(fd, of.dev === ofRoot.dev && of.ino === ofRoot.ino);
  }

  close(): void {
    if (this.#parent) closeFd(this.#parent.fd);
    closeFd(this.#fd);
  }

  /** Opens the directory at a path in the base; what is missing is made, as mkdir -p. Open until the next is asked for. */
  directory(names: readonly string[], missing: Ownership): number {
    const path = names.join("/");
    if (path === "") return this.#fd;
    if (this.#parent?.path === path) return this.#parent.fd;
    let fd = this.#open(path);
    if (fd === undefined) {
      for (let count = 1; count <= names.length; count++) {
        const prefix = names.slice(0, count).join("/");
        let next = this.#open(prefix);
        if (next === undefined) {
          const name = Buffer.from(names[count - 1] ?? "", "latin1");
          next = makeDirectoryAt(fd ?? this.#fd, name, missing);
        }
        if (fd !== undefined) closeFd(fd);
        fd = next;
      }
    }
    if (fd === undefined) throw fileErrno("ENOENT", path);
    if (this.#parent) closeFd(this.#parent.fd);
    this.#parent = { path, fd };
    return fd;
  }

  /** A directory in the base; undefined when it is not there. Refused when a link on the way leads out. */
  #open(path: string): number | undefined {
    try {
      return openInRoot(this.#fd, Buffer.from(path, "latin1"), O_PATH | O_DIRECTORY, 0, this.#confine);
    } catch (error) {
      if (errnoOf(error) === "ENOENT") return undefined;
      if (errnoOf(error) === "EXDEV") refuse(`a link in ${shown(path)} leads out of the directory`);
      throw error;
    }
  }

  /** Opens what a hard link leads to (O_PATH), itself no link that is followed. The caller closes it. */
  openTarget(path: string): number {
    try {
      return openInRoot(this.#fd, Buffer.from(path, "latin1"), O_PATH | O_NOFOLLOW, 0, this.#confine);
    } catch (error) {
      if (errnoOf(error) === "ENOENT") refuse(`it is a hard link to ${shown(path)}, which is not there`);
      if (errnoOf(error) === "EXDEV")
        refuse(`it is a hard link to ${shown(path)}, and a link there leads out of the directory`);
      throw error;
    }
  }

  /** A directory, for what is done at the end; undefined when it is none any more. The caller closes it. */
  openIfThere(path: string): number | undefined {
    try {
      return openInRoot(this.#fd, Buffer.from(path, "latin1"), O_PATH | O_DIRECTORY, 0, this.#confine);
    } catch (error) {
      if (["ENOENT", "ENOTDIR", "EXDEV", "ELOOP"].includes(errnoOf(error) ?? "")) return undefined;
      throw error;
    }
  }
}

/** The names of a path in the archive; none for the directory itself. */
export function componentsOf(path: string): string[] {
  if (path.startsWith("/")) refuse("its path is absolute");
  if (path.length > FILE_LIMITS.pathBytes) refuse("its path is too long");
  const names = path.split("/").filter((name) => name !== "" && name !== ".");
  for (const name of names) {
    if (name === "..") refuse('".." in a path may lead out of the directory');
    if (name.length > FILE_LIMITS.nameBytes) refuse("a name in its path is too long");
  }
  return names;
}
