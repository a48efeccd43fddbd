/**
 * Every handshake frame begins with these bytes, and on a one-stream link nothing else may contain them (`stuffing.ts`).
 * The first byte occurs once: a search that fails half-way can go on where it stands. As the head of an HTTP/2 frame they
 * would be a length of 14 MiB, which every peer refuses.
 */
export const MAGIC: Buffer = Buffer.from("d7d6df3961fae59f03320b743d0d8998", "hex");
const FIRST = 0xd7;

/** How many bytes at the end of `bytes` may be the beginning of a magic. */
export function magicPrefixAtEnd(bytes: Buffer): number {
  const start = bytes.indexOf(FIRST, Math.max(0, bytes.length - (MAGIC.length - 1)));
  // The first of several candidates can be wrong and a later one right.
  for (let at = start; at >= 0; at = bytes.indexOf(FIRST, at + 1)) {
    const length = bytes.length - at;
    if (bytes.compare(MAGIC, 0, length, at) === 0) return length;
  }
  return 0;
}

/** Finds magics in a stream of chunks, also across chunks. */
export class MagicMatcher {
  #matched = 0;

  /** The index just after the first magic that ends in `chunk` at or after `from`; -1 when there is none. */
  nextEnd(chunk: Buffer, from: number): number {
    let at = from;
    while (this.#matched > 0 && at < chunk.length) {
      if (chunk[at] !== MAGIC[this.#matched]) {
        this.#matched = 0; // and this byte may be the first of a magic: the search below begins with it
        break;
      }
      at++;
      this.#matched++;
      if (this.#matched === MAGIC.length) {
        this.#matched = 0;
        return at;
      }
    }
    if (this.#matched > 0) return -1;
    const found = chunk.indexOf(MAGIC, at);
    if (found >= 0) return found + MAGIC.length;
    this.#matched = magicPrefixAtEnd(chunk.subarray(at));
    return -1;
  }
}
