import { Duplex } from "node:stream";

/** What a FaultyDuplex does to the bytes that pass through it, in one direction. */
export interface Faults {
  /** Pass chunks of at most so many bytes. */
  readonly fragment?: number;
  /** Pass each chunk in a turn of the event loop of its own. */
  readonly delayed?: boolean;
  /** Pass so many bytes, then break the stream: both sides see it closed. */
  readonly cutAfter?: number;
  /** Pass so many bytes, then nothing more, and say nothing. */
  readonly stallAfter?: number;
  /** Flip a bit of the byte at this offset. */
  readonly corruptAt?: number;
}

/** What one direction does with a chunk. */
type Verdict = { readonly chunks: Buffer[]; readonly then: "go on" | "cut" | "stall" };

/** A Duplex over another, which it owns, with faults in what is read from it and what is written to it. For tests. */
export class FaultyDuplex extends Duplex {
  readonly #inner: Duplex;
  readonly #reading: Direction;
  readonly #writing: Direction;
  /** Chunks on their way to the reader. */
  readonly #inbox: Buffer[] = [];
  #wanted = false;
  #turn: NodeJS.Immediate | undefined;

  constructor(inner: Duplex, faults: { readonly read?: Faults; readonly write?: Faults }) {
    super({ allowHalfOpen: true });
    this.#inner = inner;
    this.#reading = new Direction(faults.read ?? {});
    this.#writing = new Direction(faults.write ?? {});
    inner.on("data", (chunk: Buffer) => this.#receive(chunk));
    inner.on("end", () => this.#receiveEnd());
    inner.on("error", (error) => this.destroy(error));
    inner.on("close", () => {
      if (!this.#ended) this.destroy();
    });
  }

  /** Bytes that have passed so far. */
  get passed(): { read: number; written: number } {
    return { read: this.#reading.passed, written: this.#writing.passed };
  }

  override _read(): void {
    this.#wanted = true;
    this.#give();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    const verdict = this.#writing.pass(chunk);
    this.#send(verdict.chunks, this.#writing.faults.delayed === true, () => {
      if (verdict.then === "cut") this.destroy();
      if (verdict.then !== "stall") done();
    });
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#inner.end(() => done());
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    clearImmediate(this.#turn);
    this.#inner.destroy();
    done(error);
  }

  #ended = false;

  #send(chunks: Buffer[], delayed: boolean, done: () => void): void {
    const [first, ...rest] = chunks;
    if (first === undefined) {
      done();
      return;
    }
    this.#inner.write(first, () => {
      if (delayed) setImmediate(() => this.#send(rest, delayed, done));
      else this.#send(rest, delayed, done);
    });
  }

  #receive(chunk: Buffer): void {
    const verdict = this.#reading.pass(chunk);
    this.#inbox.push(...verdict.chunks);
    this.#inner.pause();
    this.#give();
    if (verdict.then === "cut") this.destroy();
  }

  #receiveEnd(): void {
    this.#ended = true;
    this.#give();
  }

  #give(): void {
    while (this.#wanted && this.#inbox.length > 0) {
      if (this.#turn) return;
      this.#wanted = this.push(this.#inbox.shift());
      if (this.#reading.faults.delayed) {
        this.#turn = setImmediate(() => {
          this.#turn = undefined;
          this.#give();
        });
      }
    }
    if (this.#inbox.length > 0) return;
    if (this.#ended) this.push(null);
    else this.#inner.resume();
  }
}

class Direction {
  passed = 0;

  constructor(readonly faults: Faults) {}

  pass(chunk: Buffer): Verdict {
    const { fragment, cutAfter = Infinity, stallAfter = Infinity, corruptAt = -1 } = this.faults;
    const limit = Math.min(cutAfter, stallAfter);
    const kept = Buffer.from(chunk.subarray(0, Math.max(0, limit - this.passed)));
    const corrupted = corruptAt - this.passed;
    if (corrupted >= 0 && corrupted < kept.length) kept.writeUInt8(kept.readUInt8(corrupted) ^ 0x40, corrupted);
    this.passed += kept.length;
    const chunks = fragment === undefined ? [kept] : split(kept, fragment);
    const then = this.passed < limit ? "go on" : cutAfter <= stallAfter ? "cut" : "stall";
    return { chunks: chunks.filter((part) => part.length > 0), then };
  }
}

function split(bytes: Buffer, size: number): Buffer[] {
  const parts: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += size) parts.push(bytes.subarray(at, at + size));
  return parts;
}
