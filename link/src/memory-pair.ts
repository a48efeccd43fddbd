import { Duplex } from "node:stream";

/**
 * Two connected Duplexes in memory, with back-pressure: what is written to one is read from the other, and a write is done when
 * the other side has room for more. Half-open; a destroyed side is the end of the other's input.
 */
export function memoryDuplexPair(): [Duplex, Duplex] {
  const one = new MemoryDuplex();
  const other = new MemoryDuplex();
  one.peer = other;
  other.peer = one;
  return [one, other];
}

class MemoryDuplex extends Duplex {
  peer: MemoryDuplex | undefined;
  /** Completes the peer's write, which waits until this side reads. */
  #roomForMore: (() => void) | undefined;
  #ended = false;

  override _read(): void {
    const resume = this.#roomForMore;
    this.#roomForMore = undefined;
    resume?.();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    if (!this.peer || this.peer.destroyed) done(Object.assign(new Error("write EPIPE"), { code: "EPIPE" }));
    else this.peer.receive(chunk, done);
  }

  override _final(done: (error?: Error | null) => void): void {
    this.peer?.receiveEnd();
    done();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this._read();
    this.peer?.receiveEnd();
    done(error);
  }

  /** From the peer; `done` when there is room for more. */
  receive(chunk: Buffer, done: () => void): void {
    if (this.push(chunk)) process.nextTick(done);
    else this.#roomForMore = done;
  }

  receiveEnd(): void {
    if (this.#ended || this.destroyed) return;
    this.#ended = true;
    this.push(null);
  }
}
