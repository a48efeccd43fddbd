import { UsageError } from "../parse/usage-error.js";

/** Docker's. */
export const DEFAULT_DETACH_KEYS = "ctrl-p,ctrl-q";

/** Bytes of a key sequence in docker's notation: single characters and ctrl-X (a to z, @ [ \ ] ^ _), separated by commas. */
export function parseDetachKeys(text: string): Uint8Array {
  const bytes = (text || DEFAULT_DETACH_KEYS).split(",").map((key) => {
    const control = /^ctrl-([a-z@[\\\]^_])$/i.exec(key)?.[1];
    if (control) return control.toUpperCase().charCodeAt(0) & 0x1f;
    const code = key.length === 1 ? key.charCodeAt(0) : 0x80;
    if (code < 0x80) return code;
    throw new UsageError(`invalid detach key '${key}' in '${text}': give characters or ctrl-X, separated by commas`);
  });
  return Uint8Array.from(bytes);
}

/** What a piece of input comes to: bytes to send on, and whether the sequence is complete (what follows it is dropped). */
export interface Scanned {
  readonly send: Buffer;
  readonly detached: boolean;
}

/**
 * Finds the detach sequence in a stream of input, however it is cut into chunks. Bytes that may begin the sequence are held
 * back until the next byte decides.
 *
 * Invariant: what was sent, then the held bytes (the first `matched` keys), is all the input so far; and `matched` is the
 * longest end of the input that begins the sequence (Knuth, Morris, Pratt).
 */
export class DetachScanner {
  private matched = 0;

  constructor(private readonly keys: Uint8Array) {}

  scan(chunk: Uint8Array): Scanned {
    const send: number[] = [];
    for (const byte of chunk) {
      while (this.matched > 0 && this.keys[this.matched] !== byte) {
        const shorter = this.fallback(this.matched);
        send.push(...this.keys.subarray(0, this.matched - shorter));
        this.matched = shorter;
      }
      if (this.keys[this.matched] !== byte) send.push(byte);
      else if (++this.matched === this.keys.length) return { send: Buffer.from(send), detached: true };
    }
    return { send: Buffer.from(send), detached: false };
  }

  /** The held bytes, when input ends. */
  end(): Buffer {
    const held = Buffer.from(this.keys.subarray(0, this.matched));
    this.matched = 0;
    return held;
  }

  /** The longest proper beginning of the sequence that is also an end of its first `length` keys. */
  private fallback(length: number): number {
    for (let shorter = length - 1; shorter > 0; shorter--) {
      if (this.keys.subarray(0, shorter).every((key, i) => key === this.keys[length - shorter + i])) return shorter;
    }
    return 0;
  }
}
