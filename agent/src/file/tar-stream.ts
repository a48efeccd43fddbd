import { FILE_LIMITS } from "./limits.js";
import type { Send } from "./read.js";

/** Reads into `buffer` from `from` to at most `to`; `done` bytes have been read before. 0 at the end. */
type Fill = (buffer: Buffer, from: number, to: number, done: number) => number | Promise<number>;

/**
 * Collects an archive's bytes into chunks: one is filled, straight from files, while the one before it is being sent. Two are
 * in memory, however slow the receiver is.
 */
export class TarStream {
  readonly #send: Send;
  #buffer = Buffer.allocUnsafeSlow(FILE_LIMITS.chunkBytes);
  #spare = Buffer.allocUnsafeSlow(FILE_LIMITS.chunkBytes);
  #used = 0;
  #sent: Promise<void> | undefined;

  constructor(send: Send) {
    this.#send = send;
  }

  async bytes(bytes: Buffer): Promise<void> {
    for (let at = 0; at < bytes.length; ) {
      const count = bytes.copy(this.#buffer, this.#used, at);
      at += count;
      this.#used += count;
      if (this.#used === this.#buffer.length) await this.flush();
    }
  }

  /** Takes `length` bytes of a file; what the file lacks by now is zeros. */
  async fill(length: number, read: Fill): Promise<void> {
    let isOver = false;
    for (let done = 0; done < length; ) {
      const to = Math.min(this.#buffer.length, this.#used + length - done);
      let count = isOver ? 0 : read(this.#buffer, this.#used, to, done);
      if (typeof count !== "number") count = await count;
      if (count === 0) {
        isOver = true;
        this.#buffer.fill(0, this.#used, to);
        count = to - this.#used;
      }
      done += count;
      this.#used += count;
      if (this.#used === this.#buffer.length) await this.flush();
    }
  }

  /** Sends what has been collected, once the chunk before it is taken. */
  async flush(): Promise<void> {
    await this.#sent;
    if (this.#used === 0) return;
    this.#sent = this.#send(this.#buffer.subarray(0, this.#used));
    this.#sent.catch(() => {}); // the next flush tells
    [this.#buffer, this.#spare] = [this.#spare, this.#buffer];
    this.#used = 0;
  }

  /** Sends the rest, and settles when all is taken. */
  async end(): Promise<void> {
    await this.flush();
    await this.#sent;
  }
}
