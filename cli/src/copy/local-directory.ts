import { constants } from "node:fs";
import { type FileHandle, mkdir, open } from "node:fs/promises";
import { TarError } from "@zone/tar";

const FLAGS = constants.O_RDONLY | constants.O_DIRECTORY;

/**
 * An open directory of this host. Names in it are reached through its descriptor (/proc/self/fd), which is what openat(2) is
 * to others: nobody who swaps a directory for a link meanwhile sends us elsewhere. Names have one character a byte.
 */
export class LocalDirectory {
  readonly #handle: FileHandle;
  /** Of the base: the last directory that it was descended to. */
  #last: { key: string; directory: LocalDirectory } | undefined;

  private constructor(handle: FileHandle) {
    this.#handle = handle;
  }

  /** Opens a directory that the user names; links in its path are followed. */
  static async open(path: string): Promise<LocalDirectory> {
    return new LocalDirectory(await open(path, FLAGS));
  }

  /** The path of a name in here. */
  path(name: string): Buffer {
    return Buffer.concat([Buffer.from(`/proc/self/fd/${this.#handle.fd}/`), Buffer.from(name, "latin1")]);
  }

  /** Opens a directory below, making what is missing; open until the next one is asked for. A link, or anything but a directory, on the way is refused. */
  async descend(names: readonly string[]): Promise<LocalDirectory> {
    if (names.length === 0) return this;
    const key = names.join("/");
    if (this.#last?.key === key) return this.#last.directory;
    const directory = await this.openBelow(names);
    await this.#last?.directory.close();
    this.#last = { key, directory };
    return directory;
  }

  /** The same, for the caller to close. */
  async openBelow(names: readonly string[]): Promise<LocalDirectory> {
    let at = await this.#child(".");
    for (const name of names) {
      const next = await at.#child(name).finally(() => at.close());
      at = next;
    }
    return at;
  }

  async close(): Promise<void> {
    await this.#last?.directory.close();
    this.#last = undefined;
    await this.#handle.close();
  }

  async #child(name: string): Promise<LocalDirectory> {
    const path = this.path(name);
    for (;;) {
      try {
        return new LocalDirectory(await open(path, FLAGS | constants.O_NOFOLLOW));
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException;
        if (code === "ELOOP" || code === "ENOTDIR") throw new TarError("a link or file is in its way");
        if (code !== "ENOENT") throw error;
        await mkdir(path, 0o755);
      }
    }
  }
}
