import { refuse } from "./tar-error.js";

const NOTHING = Buffer.alloc(0);

/** Reads exact amounts from a stream of chunks, one reader at a time. Ask for little: what is asked for is held in memory. */
export class ByteSource {
  readonly #chunks: AsyncIterator<Buffer>;
  #rest: Buffer = NOTHING;

  constructor(chunks: AsyncIterable<Buffer>) {
    this.#chunks = chunks[Symbol.asyncIterator]();
  }

  /** The next `length` bytes; undefined when the stream is over. A stream that ends within them is refused. */
  async read(length: number): Promise<Buffer | undefined> {
    const first = await this.readSome(length);
    if (first === undefined || first.length === length) return first;
    const parts = [first];
    for (let missing = length - first.length; missing > 0; ) {
      const part = (await this.readSome(missing)) ?? refuse("the archive ends too early");
      parts.push(part);
      missing -= part.length;
    }
    return Buffer.concat(parts, length);
  }

  /** At least one and at most `most` bytes; undefined when the stream is over. Valid until the next call. */
  async readSome(most: number): Promise<Buffer | undefined> {
    while (this.#rest.length === 0) {
      const next = await this.#chunks.next();
      if (next.done) return undefined;
      this.#rest = next.value;
    }
    const some = this.#rest.subarray(0, most);
    this.#rest = this.#rest.subarray(some.length);
    return some;
  }

  /** Passes over `length` bytes; a stream that ends within them is refused. */
  async skip(length: number): Promise<void> {
    for (let left = length; left > 0; ) {
      left -= ((await this.readSome(left)) ?? refuse("the archive ends too early")).length;
    }
  }

  /** Reads to the end, so that whoever measures the stream has seen all of it. */
  async drain(): Promise<void> {
    while ((await this.readSome(Number.MAX_SAFE_INTEGER)) !== undefined);
  }

  /** Ends the stream early. */
  async close(): Promise<void> {
    await this.#chunks.return?.();
  }
}
