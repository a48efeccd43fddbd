/**
 * gRPC's message framing over HTTP/2: `compressed u8 | length u32 | message`
 * (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md).
 */
export const PREFIX_BYTES = 5;

/** A message that may not be received; gRPC's status is RESOURCE_EXHAUSTED (too long) or INTERNAL (compressed without asking). */
export class MessageError extends Error {
  constructor(
    readonly kind: "too-long" | "compressed",
    message: string,
  ) {
    super(message);
  }
}

/** The prefix of an uncompressed message. */
export function messagePrefix(length: number): Buffer {
  const prefix = Buffer.allocUnsafe(PREFIX_BYTES);
  prefix[0] = 0;
  prefix.writeUInt32BE(length, 1);
  return prefix;
}

/** A chunk below this is joined with what came before it. */
const SMALL_BYTES = 4096;
const BLOCK_BYTES = 64 * 1024;

/**
 * Takes chunks, gives whole messages. It allocates only for a message that came in more than one chunk, and only when its last
 * byte is there; a length over `maxBytes` throws as soon as the prefix is read.
 */
export class MessageDecoder {
  #chunks: Buffer[] = [];
  #bytes = 0;
  /** Where small chunks are joined; what is before #blockUsed never changes, so that messages may be views of it. */
  #block = Buffer.alloc(0);
  #blockUsed = 0;
  /** Length of the message that comes next, once its prefix has been read. */
  #length: number | undefined;

  constructor(readonly maxBytes: number) {}

  push(chunk: Buffer): void {
    if (chunk.length === 0) return;
    this.#bytes += chunk.length;
    if (chunk.length >= SMALL_BYTES || this.#chunks.length === 0) this.#chunks.push(chunk);
    else this.#append(chunk);
  }

  /** Joins small chunks: a peer that sends bytes one by one must not make us keep a Buffer for each. */
  #append(chunk: Buffer): void {
    if (this.#block.length - this.#blockUsed < chunk.length) {
      this.#block = Buffer.allocUnsafeSlow(BLOCK_BYTES);
      this.#blockUsed = 0;
    }
    const end = this.#blockUsed + chunk.length;
    chunk.copy(this.#block, this.#blockUsed);
    const last = this.#chunks.at(-1);
    const continues = last?.buffer === this.#block.buffer && last.byteOffset + last.length === this.#blockUsed;
    if (last && continues) this.#chunks[this.#chunks.length - 1] = this.#block.subarray(last.byteOffset, end);
    else this.#chunks.push(this.#block.subarray(this.#blockUsed, end));
    this.#blockUsed = end;
  }

  /** True when there are bytes of a message that is not whole. */
  get truncated(): boolean {
    return this.#bytes > 0 || this.#length !== undefined;
  }

  /** The next whole message, or undefined. Throws MessageError; nothing may be called after that. */
  next(): Buffer | undefined {
    if (this.#length === undefined) {
      if (this.#bytes < PREFIX_BYTES) return undefined;
      this.#length = this.#checkedLength(this.#take(PREFIX_BYTES));
    }
    if (this.#bytes < this.#length) return undefined;
    const message = this.#take(this.#length);
    this.#length = undefined;
    return message;
  }

  #checkedLength(prefix: Buffer): number {
    if (prefix[0] !== 0) throw new MessageError("compressed", "received a compressed message, which was not asked for");
    const length = prefix.readUInt32BE(1);
    if (length > this.maxBytes) {
      throw new MessageError("too-long", `received a message of ${length} bytes; the limit is ${this.maxBytes}`);
    }
    return length;
  }

  /** The first `count` bytes: a view when they are in one chunk, else a copy. `count` bytes must be there. */
  #take(count: number): Buffer {
    this.#bytes -= count;
    const [first] = this.#chunks;
    if (first === undefined || count === 0) return Buffer.alloc(0);
    if (first.length === count) {
      this.#chunks.shift();
      return first;
    }
    if (first.length > count) {
      this.#chunks[0] = first.subarray(count);
      return first.subarray(0, count);
    }
    const parts: Buffer[] = [];
    let missing = count;
    while (missing > 0) {
      const chunk = this.#chunks.shift();
      if (chunk === undefined) throw new Error("fewer bytes than were counted");
      if (chunk.length > missing) this.#chunks.unshift(chunk.subarray(missing));
      parts.push(chunk.length > missing ? chunk.subarray(0, missing) : chunk);
      missing -= Math.min(chunk.length, missing);
    }
    return Buffer.concat(parts, count);
  }
}
