import { randomBytes } from "node:crypto";
import { fstatSync } from "node:fs";
import { setImmediate } from "node:timers/promises";
import { closeFd, openAt, renameAt, unlinkAt } from "@zone/native";
import { O_PATH, withFd } from "../descriptors.js";
import { errnoOf } from "../errors.js";
import { O_DIRECTORY, O_NOFOLLOW, openParent, withFdAsync } from "./descriptors.js";
import { requireDirectory } from "./edit.js";
import { fileError, requireThawed } from "./file-error.js";
import { FILE_LIMITS } from "./limits.js";
import { openEntries } from "./look.js";

/** Removes a file, link or directory; with `recursive` all that is in it. ENOENT when it is not there. */
export async function removePath(root: number, path: string, recursive: boolean, signal: AbortSignal): Promise<void> {
  const { dir, name, slash } = openParent(root, path);
  await withFdAsync(dir, async () => {
    if (slash) requireDirectory(dir, name, path);
    if (recursive) return removeTree(dir, name, path, signal);
    const isDirectory = withFd(openAt(dir, name, O_PATH | O_NOFOLLOW), (fd) => fstatSync(fd).isDirectory());
    requireThawed(dir, path);
    unlinkAt(dir, name, { directory: isDirectory });
  });
}

/**
 * Removes `name` of a directory, whatever it is and whatever it becomes meanwhile: names are used one at a time, in
 * directories that are open, and no link is followed. `path` is for errors.
 */
export async function removeTree(
  dir: number,
  name: string | Uint8Array,
  path: string,
  signal: AbortSignal,
): Promise<void> {
  const removal = new Removal(signal);
  await removal.entry(dir, name, path, 0);
}

class Removal {
  readonly #signal: AbortSignal;
  #done = 0;
  #lifts = 0;
  /** The topmost directory: what lies too deep is moved there. */
  #top: number | undefined;

  constructor(signal: AbortSignal) {
    this.#signal = signal;
  }

  async entry(dir: number, name: string | Uint8Array, path: string, depth: number): Promise<void> {
    try {
      for (let scan = 0; ; scan++) {
        if (this.#unlinked(dir, name)) return;
        const fd = openDirectory(dir, name);
        if (fd === undefined) continue; // it has become something else
        await withFdAsync(fd, () => this.#empty(fd, path, depth));
        requireThawed(dir, path);
        try {
          return unlinkAt(dir, name, { directory: true });
        } catch (error) {
          const errno = errnoOf(error) ?? "";
          if (errno === "ENOENT") return;
          if (!["ENOTEMPTY", "EEXIST", "ENOTDIR"].includes(errno) || scan >= FILE_LIMITS.removeScans + this.#lifts)
            throw error;
        }
      }
    } catch (error) {
      throw fileError(error, path);
    }
  }

  /** True when it is gone, false when it is a directory. */
  #unlinked(dir: number, name: string | Uint8Array): boolean {
    requireThawed(dir);
    try {
      unlinkAt(dir, name);
      return true;
    } catch (error) {
      const errno = errnoOf(error);
      // EPERM: what POSIX wants for a directory; Linux says EISDIR, some of its file systems do not.
      if (errno === "EISDIR") return false;
      if (errno === "EPERM" && isDirectory(dir, name)) return false;
      throw error;
    }
  }

  async #empty(fd: number, path: string, depth: number): Promise<void> {
    this.#top ??= fd;
    const entries = openEntries(fd);
    try {
      for (let name = entries.next(); name !== undefined; name = entries.next()) {
        if (++this.#done % FILE_LIMITS.batch === 0) await setImmediate();
        this.#signal.throwIfAborted();
        const below = `${path}/${name.toString()}`;
        try {
          if (this.#unlinked(fd, name)) continue;
          if (depth >= FILE_LIMITS.removeDepth && this.#lifted(fd, name)) continue;
        } catch (error) {
          if (errnoOf(error) === "ENOENT") continue; // somebody else has removed it
          throw fileError(error, below);
        }
        await this.entry(fd, name, below, depth + 1).catch((error: unknown) => {
          if (fileError(error, below).reason !== "FILE_NOT_FOUND") throw error;
        });
      }
    } finally {
      entries.close();
    }
  }

  /** Moves a directory to the top, which is scanned again; false when that is not possible (a mount point). */
  #lifted(dir: number, name: Uint8Array): boolean {
    if (this.#top === undefined) return false;
    try {
      renameAt(dir, name, this.#top, `.zone-remove-${randomBytes(8).toString("hex")}`, { noReplace: true });
      this.#lifts += 1;
      return true;
    } catch (error) {
      if (errnoOf(error) === "ENOENT") throw error;
      return false;
    }
  }
}

function openDirectory(dir: number, name: string | Uint8Array): number | undefined {
  try {
    return openAt(dir, name, O_PATH | O_DIRECTORY | O_NOFOLLOW);
  } catch (error) {
    if (["ENOTDIR", "ELOOP"].includes(errnoOf(error) ?? "")) return undefined;
    throw error;
  }
}

function isDirectory(dir: number, name: string | Uint8Array): boolean {
  const fd = openDirectory(dir, name);
  if (fd !== undefined) closeFd(fd);
  return fd !== undefined;
}
