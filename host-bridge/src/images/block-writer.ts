import type { FileHandle } from "node:fs/promises";

export const BLOCK = 4096;
const BUFFER = 1024 * 1024;

/** Writes a file from its start to its end through one buffer. */
export class BlockWriter {
  readonly #file: FileHandle;
  readonly #buffer = Buffer.alloc(BUFFER);
  #buffered = 0;
  #written = 0;

  constructor(file: FileHandle) {
    this.#file = file;
  }

  /** Bytes from the start of the file; where the next ones go. */
  get position(): number {
    return this.#written + this.#buffered;
  }

  async write(bytes: Uint8Array): Promise<void> {
    for (let from = 0; from < bytes.length; ) {
      const part = bytes.subarray(from, from + BUFFER - this.#buffered);
      this.#buffer.set(part, this.#buffered);
      this.#buffered += part.length;
      from += part.length;
      if (this.#buffered === BUFFER) await this.flush();
    }
  }

  /** Zeros up to `position`, which lies ahead. */
  async zerosTo(position: number): Promise<void> {
    if (position < this.position) throw new RangeError(`cannot go back from ${this.position} to ${position}`);
    while (this.position < position) {
      const length = Math.min(position - this.position, BUFFER - this.#buffered);
      this.#buffer.fill(0, this.#buffered, this.#buffered + length);
      this.#buffered += length;
      if (this.#buffered === BUFFER) await this.flush();
    }
  }

  /** Zeros up to the next multiple of BLOCK. Answers with the number of the block that begins there. */
  async startBlock(): Promise<number> {
    const block = Math.ceil(this.position / BLOCK);
    await this.zerosTo(block * BLOCK);
    return block;
  }

  async flush(): Promise<void> {
    for (let from = 0; from < this.#buffered; ) {
      const { bytesWritten } = await this.#file.write(this.#buffer, from, this.#buffered - from, this.#written + from);
      from += bytesWritten;
    }
    this.#written += this.#buffered;
    this.#buffered = 0;
  }
}
