import type { Http2Session } from "node:http2";

export interface KeepaliveOptions {
  /** Milliseconds from an answer to the next PING; 0: no keepalive. */
  readonly everyMs: number;
  /** Milliseconds that an answer may take. */
  readonly timeoutMs: number;
}

export const KEEPALIVE_MS = 10_000;

/** `everyMs` with the timeout that goes with it. */
export function keepaliveOptions(everyMs: number = KEEPALIVE_MS): KeepaliveOptions {
  return { everyMs, timeoutMs: 2 * everyMs };
}

/** PINGs an HTTP/2 session, and calls `onDead` once when an answer does not come. */
export class Keepalive {
  #timer: NodeJS.Timeout | undefined;
  /** Number of the last PING; an answer to an earlier one says nothing about it. */
  #ping = 0;
  #suspended = false;

  constructor(
    readonly session: Http2Session,
    readonly options: KeepaliveOptions,
    readonly onDead: () => void,
  ) {
    session.once("close", () => this.suspend());
    this.#wait();
  }

  /** The peer is paused: its silence says nothing. */
  suspend(): void {
    this.#suspended = true;
    this.#ping++;
    clearTimeout(this.#timer);
  }

  resume(): void {
    if (!this.#suspended || this.session.destroyed) return;
    this.#suspended = false;
    this.#wait();
  }

  #wait(): void {
    if (this.options.everyMs > 0) this.#after(this.options.everyMs, () => this.#send());
  }

  #send(): void {
    if (this.session.destroyed) return;
    const ping = ++this.#ping;
    this.session.ping((error) => {
      if (!error && ping === this.#ping) this.#wait();
    });
    // In two halves: when this process itself has been stopped, it comes to the end of the first late, and an answer that has come
    // meanwhile has all of the second to be read.
    const half = this.options.timeoutMs / 2;
    this.#after(half, () => this.#after(half, () => this.onDead()));
  }

  #after(ms: number, then: () => void): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(then, ms).unref();
  }
}
