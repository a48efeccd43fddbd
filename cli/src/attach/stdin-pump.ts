import type { Readable } from "node:stream";
import { DetachScanner } from "./detach-keys.js";

/**
 * Most bytes that are read but not acknowledged; they are kept for a re-attach. With one read more they stay below the
 * 1 MiB that the agent queues before it stops reading the call: our acknowledgements of output travel in the same call, and
 * a process that waits for those before it reads would wait for ever.
 */
const WINDOW_BYTES = 512 * 1024;
/** The largest StdinData that the agent takes. */
const MAX_CHUNK_BYTES = 256 * 1024;

/** Where the pump sends to: an Attach call. */
export interface StdinLink {
  data(offset: number, data: Uint8Array): void;
  eof(offset: number): void;
}

export interface StdinPumpOptions {
  /** The key sequence that detaches; absent: none does. */
  readonly detachKeys?: Uint8Array | undefined;
  readonly onDetach?: () => void;
  /** Reading failed; for the process it is the end of its input. */
  readonly onError?: (error: Error) => void;
  readonly windowBytes?: number;
}

/**
 * Carries standard input to a process by offset.
 *
 * Invariant: `kept` are the bytes from `acked` to `read`, in order; all of them have been sent over the link if there is
 * one. The source is paused while there is no link or `read - acked` has reached the window, so memory is bounded by the
 * window and one read.
 */
export class StdinPump {
  private kept: Buffer[] = [];
  private acked = 0;
  private read = 0;
  private state: "reading" | "eof" | "stopped" = "reading";
  private link: StdinLink | undefined;
  private readonly scanner: DetachScanner | undefined;
  private readonly window: number;

  constructor(
    private readonly source: Readable,
    private readonly options: StdinPumpOptions = {},
  ) {
    this.scanner = options.detachKeys && new DetachScanner(options.detachKeys);
    this.window = options.windowBytes ?? WINDOW_BYTES;
  }

  /** Continues over a new link, whose agent has accepted `accepted` bytes. */
  connect(link: StdinLink, accepted: number): void {
    if (this.state === "stopped") return;
    this.drop(accepted);
    // Someone else fed the process before us.
    if (accepted > this.read) this.acked = this.read = accepted;
    this.link = link;
    let offset = this.acked;
    for (const chunk of this.kept) {
      link.data(offset, chunk);
      offset += chunk.length;
    }
    if (this.state === "eof") link.eof(this.read);
    if (this.source.listenerCount("data") === 0) {
      this.source.on("data", this.onData).on("end", this.onEnd).on("error", this.onFailure);
    }
    this.flow();
  }

  /** The link is gone. */
  disconnect(): void {
    this.link = undefined;
    this.flow();
  }

  /** The agent has accepted everything before `offset`; when `closed` it will never accept more. */
  acknowledge(offset: number, closed: boolean): void {
    if (closed) {
      this.stop();
      return;
    }
    this.drop(offset);
    this.flow();
  }

  /** Reads no more, and lets go of the source. */
  stop(): void {
    this.state = "stopped";
    this.kept = [];
    this.link = undefined;
    // The error listener stays: a terminal that hangs up later must not end us by an unhandled event.
    this.source.off("data", this.onData).off("end", this.onEnd);
    this.source.pause();
  }

  private drop(accepted: number): void {
    while (this.kept.length > 0 && this.acked < accepted) {
      const [first = Buffer.alloc(0)] = this.kept;
      const taken = Math.min(first.length, accepted - this.acked);
      if (taken === first.length) this.kept.shift();
      else this.kept[0] = first.subarray(taken);
      this.acked += taken;
    }
  }

  private flow(): void {
    if (this.state !== "reading") return;
    if (this.link !== undefined && this.read - this.acked < this.window) this.source.resume();
    else this.source.pause();
  }

  private send(bytes: Buffer): void {
    for (let start = 0; start < bytes.length; start += MAX_CHUNK_BYTES) {
      const chunk = bytes.subarray(start, start + MAX_CHUNK_BYTES);
      this.kept.push(chunk);
      this.link?.data(this.read, chunk);
      this.read += chunk.length;
    }
  }

  private readonly onData = (chunk: Buffer): void => {
    if (this.state !== "reading") return;
    const { send, detached } = this.scanner?.scan(chunk) ?? { send: chunk, detached: false };
    this.send(send);
    this.flow();
    if (detached) {
      this.stop();
      this.options.onDetach?.();
    }
  };

  private readonly onEnd = (): void => {
    if (this.state !== "reading") return;
    if (this.scanner) this.send(this.scanner.end());
    this.state = "eof";
    this.link?.eof(this.read);
  };

  private readonly onFailure = (error: Error): void => {
    if (this.state !== "reading") return;
    this.options.onError?.(error);
    this.onEnd();
  };
}
