import type * as grpc from "@grpc/grpc-js";
import { ZoneError } from "@zone/proto";
import { cancelled, linkError } from "./errors.js";
import { type LinkEvent, type LinkState, nextLinkState } from "./link-state.js";
import { openSession, type Session } from "./session.js";

export interface ReconnectingOptions {
  readonly zoneId: string;
  /** See SessionOptions. */
  readonly keepaliveMs?: number;
  /** See SessionOptions. */
  readonly maxReceiveBytes?: number;
  /** Milliseconds for one attempt to connect. Default 10,000. */
  readonly attemptMs?: number;
}

interface Waiter {
  resolve(client: grpc.Client): void;
  reject(error: ZoneError): void;
}

/** Keeps a session to one agent open: connects at once, and again, with backoff, whenever the session is lost. */
export class ReconnectingLink {
  /** Called at each change of state. */
  onState: (state: LinkState) => void = () => {};
  #state: LinkState = { kind: "connecting", attempt: 0 };
  readonly #waiters = new Set<Waiter>();
  readonly #abort = new AbortController();
  #timer: NodeJS.Timeout | undefined;
  #suspended = false;
  #ending: Promise<void> = Promise.resolve();

  constructor(
    readonly uri: string,
    readonly options: ReconnectingOptions,
  ) {
    void this.#connect();
  }

  get state(): LinkState {
    return this.#state;
  }

  /**
   * The client of the session that is open, or of the next one. Rejects with UNAVAILABLE after `timeoutMs` (default: no limit)
   * and once the link is closed; with CANCELLED; and at once with what the last attempt said when trying again will not help
   * (versions, another zone).
   */
  ready(signal?: AbortSignal, timeoutMs?: number): Promise<grpc.Client> {
    const state = this.#state;
    if (signal?.aborted) return Promise.reject(cancelled(`waiting for ${this.uri}`, signal));
    // Between the loss of a session and the state that follows, there is no use in its client.
    if (state.kind === "ready" && state.session.isOpen) return Promise.resolve(state.session.client);
    if (state.kind === "closed") return Promise.reject(this.#closedError());
    if (state.kind === "waiting" && isFinal(state.error)) return Promise.reject(state.error);
    return this.#wait(signal, timeoutMs);
  }

  /** The zone is paused: no keepalive. */
  suspend(): void {
    this.#suspended = true;
    if (this.#state.kind === "ready") this.#state.session.suspend();
  }

  resume(): void {
    this.#suspended = false;
    if (this.#state.kind === "ready") this.#state.session.resume();
  }

  /** Orderly end of the session, if there is one (rejects as its `close` does); no more attempts. */
  close(): Promise<void> {
    const state = this.#state;
    if (state.kind === "closed") return this.#ending;
    this.#apply({ kind: "close" });
    if (state.kind === "ready") this.#ending = state.session.close();
    return this.#ending;
  }

  #apply(event: LinkEvent): void {
    this.#state = nextLinkState(this.#state, event);
    this.#entered(this.#state);
    this.onState(this.#state);
  }

  /** What a state does when it begins. */
  #entered(state: LinkState): void {
    switch (state.kind) {
      case "connecting":
        void this.#connect();
        break;
      case "ready":
        if (this.#suspended) state.session.suspend();
        void this.#watch(state.session);
        for (const waiter of this.#waiters) waiter.resolve(state.session.client);
        break;
      case "waiting":
        this.#timer = setTimeout(() => this.#apply({ kind: "elapsed" }), state.delayMs);
        if (isFinal(state.error)) for (const waiter of this.#waiters) waiter.reject(state.error);
        break;
      case "closed":
        clearTimeout(this.#timer);
        this.#abort.abort();
        for (const waiter of this.#waiters) waiter.reject(this.#closedError());
        break;
    }
  }

  async #connect(): Promise<void> {
    const { attemptMs = 10_000, ...options } = this.options;
    let event: LinkEvent;
    try {
      const session = await openSession(this.uri, { ...options, timeoutMs: attemptMs, signal: this.#abort.signal });
      event = { kind: "opened", session, nowMs: performance.now() };
    } catch (error) {
      event = { kind: "failed", error: ZoneError.from(error), random: Math.random() };
    }
    if (this.#state.kind !== "closed") this.#apply(event);
    else if (event.kind === "opened") await event.session.close();
  }

  async #watch(session: Session): Promise<void> {
    const error = await session.ending;
    if (this.#state.kind !== "ready" || this.#state.session !== session) return;
    this.#apply({ kind: "lost", error: ZoneError.from(error), nowMs: performance.now(), random: Math.random() });
  }

  #wait(signal?: AbortSignal, timeoutMs?: number): Promise<grpc.Client> {
    return new Promise((resolve, reject) => {
      const leave = () => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", onAbort);
        this.#waiters.delete(waiter);
      };
      const waiter: Waiter = {
        resolve: (client) => {
          leave();
          resolve(client);
        },
        reject: (error) => {
          leave();
          reject(error);
        },
      };
      const onAbort = () => {
        if (signal) waiter.reject(cancelled(`waiting for ${this.uri}`, signal));
      };
      const limit = timeoutMs === undefined ? undefined : () => waiter.reject(this.#notReady(timeoutMs));
      const timer = limit && setTimeout(limit, timeoutMs);
      signal?.addEventListener("abort", onAbort, { once: true });
      this.#waiters.add(waiter);
    });
  }

  #notReady(timeoutMs: number): ZoneError {
    const state = this.#state;
    const why = state.kind === "waiting" ? state.error.message : "an attempt to connect is under way";
    const message = `no link to ${this.uri} within ${timeoutMs} ms: ${why}`;
    return linkError("UNAVAILABLE", "LINK_NOT_READY", message, this.uri);
  }

  #closedError(): ZoneError {
    return linkError("UNAVAILABLE", "LINK_CLOSED", `the link to ${this.uri} is closed`, this.uri);
  }
}

/** True when another attempt will not help until somebody does something. */
function isFinal(error: ZoneError): boolean {
  return error.code !== "UNAVAILABLE" && error.code !== "DEADLINE_EXCEEDED";
}
