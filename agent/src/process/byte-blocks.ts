/** Small appends are gathered in blocks of this size, so that a stream of one-byte writes costs no object per byte. */
const BLOCK_BYTES = 8192;

interface Block {
  /** Absolute offset of its first byte. */
  offset: number;
  bytes: Uint8Array;
  /** Bytes in use; the rest of `bytes` may still be appended to when the block is ours. */
  length: number;
  ours: boolean;
}

/**
 * A queue of bytes with absolute offsets: appended at the end, evicted at the start, read anywhere between.
 * It holds less than twice the memory of its bytes, and one block.
 */
export class ByteBlocks {
  #blocks: Block[] = [];
  #start: number;
  #end: number;

  constructor(base: number) {
    this.#start = base;
    this.#end = base;
  }

  get start(): number {
    return this.#start;
  }

  get end(): number {
    return this.#end;
  }

  /** Appends bytes; large ones are kept as they are (and must not change), small ones are copied. */
  append(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    const last = this.#blocks.at(-1);
    if (last?.ours && last.bytes.length - last.length >= bytes.length) {
      last.bytes.set(bytes, last.length);
      last.length += bytes.length;
    } else if (bytes.length >= BLOCK_BYTES) {
      this.#blocks.push({ offset: this.#end, bytes, length: bytes.length, ours: false });
    } else {
      const block = Buffer.allocUnsafeSlow(BLOCK_BYTES);
      block.set(bytes);
      this.#blocks.push({ offset: this.#end, bytes: block, length: bytes.length, ours: true });
    }
    this.#end += bytes.length;
  }

  /** Forgets the bytes before `offset`; a block is freed when all of it is. */
  evict(offset: number): void {
    if (offset <= this.#start) return;
    this.#start = Math.min(offset, this.#end);
    let gone = 0;
    for (const block of this.#blocks) {
      if (block.offset + block.length > this.#start) break;
      gone++;
    }
    if (gone > 0) this.#blocks.splice(0, gone);
  }

  /** A view of at most `max` bytes at `offset`, which must be in [start, end): what one block has from there. */
  read(offset: number, max: number): Uint8Array {
    const block = this.#blocks[this.#find(offset)];
    if (block === undefined) throw new RangeError(`offset ${offset} is not kept`);
    const from = offset - block.offset;
    return block.bytes.subarray(from, Math.min(block.length, from + max));
  }

  /** Index of the block that holds `offset`, by bisection. */
  #find(offset: number): number {
    let low = 0;
    let high = this.#blocks.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((this.#blocks[middle]?.offset ?? 0) <= offset) low = middle;
      else high = middle - 1;
    }
    return low;
  }
}
