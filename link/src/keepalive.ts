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
  /** Answers to PINGs of an earlier round say nothing about this one. */
  #round = 0;
  #suspended = false;
  #over = false;

  constructor(
    readonly session: Http2Session,
    readonly options: KeepaliveOptions,
    readonly onDead: () => void,
  ) {
    session.once("close", () => this.#stop());
    this.#wait();
  }

  /** The peer is paused: its silence says nothing. */
  suspend(): void {
    this.#suspended = true;
    this.#clear();
  }

  resume(): void {
    if (!this.#suspended) return;
    this.#suspended = false;
    this.#wait();
  }

  #wait(): void {
    if (this.#over || this.#suspended || this.options.everyMs <= 0) return;
    this.#set(this.options.everyMs, () => this.#ping());
  }

  #ping(): void {
    if (this.session.destroyed) return;
    const round = this.#set(this.options.timeoutMs, () => {
      // This process itself may have been stopped. An answer that has arrived meanwhile is read before setImmediate runs.
      setImmediate(() => {
        if (round !== this.#round) return;
        this.#stop();
        this.onDead();
      });
    });
    this.session.ping((error) => {
      if (!error && round === this.#round) this.#wait();
    });
  }

  /** Starts a new round, and calls `then` when it has taken `ms`. */
  #set(ms: number, then: () => void): number {
    this.#clear();
    this.#timer = setTimeout(then, ms).unref();
    return this.#round;
  }

  #clear(): void {
    this.#round++;
    clearTimeout(this.#timer);
  }

  #stop(): void {
    this.#over = true;
    this.#clear();
  }
}
