import { decodeFrame, type Frame, frameIsIntact, frameLength, MAX_FRAME_BYTES } from "./frames.js";
import { MAGIC, magicPrefixAtEnd } from "./magic.js";

const NOTHING = Buffer.alloc(0);

/**
 * Finds frames in a stream that may begin with, or have between them, the leavings of a dead peer. It keeps less than one frame
 * between calls. A body never contains the magic, so a magic inside of what a header claimed as its frame means that the claim was
 * cut short, and the frame there is looked at instead.
 */
export class FrameScanner {
  #pending: Buffer = NOTHING;
  #discarded = 0;

  /** Bytes that belonged to no frame, so far. */
  get discarded(): number {
    return this.#discarded;
  }

  push(chunk: Buffer): void {
    this.#pending = this.#pending.length === 0 ? chunk : Buffer.concat([this.#pending, chunk]);
  }

  /** The next frame, or undefined until there is more. Bytes after the frame stay: for the next call, or for `takeRest`. */
  next(): Frame | undefined {
    for (;;) {
      const start = this.#pending.indexOf(MAGIC);
      if (start < 0) {
        this.#discard(this.#pending.length - magicPrefixAtEnd(this.#pending));
        return undefined;
      }
      this.#discard(start);
      const length = frameLength(this.#pending);
      if (length === undefined) return undefined;
      if (length > MAX_FRAME_BYTES) {
        this.#discard(MAGIC.length);
        continue;
      }
      const claimed = this.#pending.subarray(0, length);
      const another = claimed.indexOf(MAGIC, MAGIC.length);
      if (another >= 0) {
        this.#discard(another);
        continue;
      }
      if (this.#pending.length < length) return undefined;
      if (!frameIsIntact(claimed)) {
        this.#discard(MAGIC.length);
        continue;
      }
      this.#pending = this.#pending.subarray(length);
      const frame = decodeFrame(claimed);
      if (frame) return frame;
    }
  }

  /** What follows the last frame; the scanner is empty afterwards. */
  takeRest(): Buffer {
    const rest = this.#pending;
    this.#pending = NOTHING;
    return rest;
  }

  #discard(count: number): void {
    this.#discarded += count;
    this.#pending = this.#pending.subarray(count);
  }
}
