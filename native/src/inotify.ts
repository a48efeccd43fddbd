import { readSync } from "node:fs";
import { endianness } from "node:os";
import { addon, POLL_READABLE, type PollHandle } from "./addon.js";
import { closeFd } from "./descriptors.js";

/** Events of inotify(7), <linux/inotify.h>. */
export const IN = {
  MODIFY: 0x2,
  ATTRIB: 0x4,
  CLOSE_WRITE: 0x8,
  MOVED_FROM: 0x40,
  MOVED_TO: 0x80,
  CREATE: 0x100,
  DELETE: 0x200,
  DELETE_SELF: 0x400,
  MOVE_SELF: 0x800,
  UNMOUNT: 0x2000,
  Q_OVERFLOW: 0x4000,
  IGNORED: 0x8000,
  EXCL_UNLINK: 0x0400_0000,
} as const;

/** Many events; one is at most 16 bytes and NAME_MAX with its padding. */
const BUFFER_BYTES = 64 * 1024;
const HEADER_BYTES = 16;
const LITTLE = endianness() === "LE";

/** One inotify instance with one watch: what happens to a file, or in a directory. inotify(7). */
export class Inotify {
  /** `name` is the entry's, of an event in a directory; else it is empty. */
  onEvent: (mask: number, name: Buffer) => void = () => {};
  readonly #fd: number;
  readonly #buffer = Buffer.allocUnsafeSlow(BUFFER_BYTES);
  readonly #poll: PollHandle;
  #open = true;

  private constructor(fd: number) {
    this.#fd = fd;
    this.#poll = addon().pollStart(fd, POLL_READABLE, () => this.#read());
  }

  /** Watches what `path` leads to. EMFILE: too many instances; ENOSPC: too many watches (/proc/sys/fs/inotify). */
  static watch(path: string, mask: number): Inotify {
    const fd = addon().inotifyOpen();
    try {
      addon().inotifyWatch(fd, path, mask);
      return new Inotify(fd);
    } catch (error) {
      closeFd(fd);
      throw error;
    }
  }

  /** Idempotent. No callback follows. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    addon().pollStop(this.#poll);
    closeFd(this.#fd);
  }

  #read(): void {
    let length: number;
    try {
      length = readSync(this.#fd, this.#buffer);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "EAGAIN") return;
      throw error;
    }
    const view = this.#buffer;
    const word = (at: number) => (LITTLE ? view.readUInt32LE(at) : view.readUInt32BE(at));
    for (let at = 0; at < length && this.#open; ) {
      const [mask, nameBytes] = [word(at + 4), word(at + 12)];
      const name = view.subarray(at + HEADER_BYTES, at + HEADER_BYTES + nameBytes);
      const end = name.indexOf(0); // filled up with NULs
      this.onEvent(mask, Buffer.from(end < 0 ? name : name.subarray(0, end)));
      at += HEADER_BYTES + nameBytes;
    }
  }
}
