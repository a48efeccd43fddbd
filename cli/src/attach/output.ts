import type { Writable } from "node:stream";

/** Writes all of `data`; settles when it has been handed to the kernel, rejects when the reader is gone (EPIPE). */
export function write(stream: Writable, data: string | Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    stream.write(data, (error) => (error ? reject(error) : resolve()));
  });
}

/** What a sink tells. */
export interface SinkEvents {
  /** All bytes before `offset` have been written. */
  written(offset: number): void;
  /** The reader is gone; nothing more will be written. */
  broken(error: Error): void;
}

/**
 * Writes one output stream of a process, byte for byte, each byte once.
 *
 * Invariant: `received` is the offset of the next byte wanted; `received - pending` bytes have been written (or were gaps).
 */
export class OutputSink {
  received = 0;
  pending = 0;
  private isBroken = false;
  private waiting: (() => void)[] = [];

  constructor(
    private readonly stream: Writable,
    private readonly events: SinkEvents,
  ) {}

  /** Takes bytes whose first has this offset. What is known already is skipped; `gap` tells how many are missing. */
  take(offset: number, data: Uint8Array): { gap: number } {
    const gap = Math.max(0, offset - this.received);
    const fresh = data.subarray(Math.max(0, this.received - offset));
    if (fresh.length === 0) return { gap: 0 };
    this.received += gap + fresh.length;
    if (this.isBroken) return { gap };
    this.pending += fresh.length;
    this.stream.write(fresh, (error) => this.wrote(fresh.length, error));
    return { gap };
  }

  /** Bytes up to `to` are gone. Tells how many of them were wanted. */
  skip(to: number): number {
    const missed = Math.max(0, to - this.received);
    this.received += missed;
    return missed;
  }

  /** Settles when all that was taken is written, or the reader is gone. */
  drained(): Promise<void> {
    if (this.pending === 0) return Promise.resolve();
    return new Promise((resolve) => this.waiting.push(resolve));
  }

  private wrote(length: number, error: Error | null | undefined): void {
    this.pending -= length;
    if (error && !this.isBroken) {
      this.isBroken = true;
      this.events.broken(error);
    }
    if (!error) this.events.written(this.received - this.pending);
    if (this.pending === 0) for (const resolve of this.waiting.splice(0)) resolve();
  }
}
