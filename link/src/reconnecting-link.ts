import type * as grpc from "@grpc/grpc-js";
import type { ZoneError } from "@zone/proto";
import type { Session } from "./session.js";

export interface ReconnectingOptions {
  readonly zoneId: string;
  /** See SessionOptions. */
  readonly keepaliveMs?: number;
  /** Milliseconds for one attempt to connect. Default 10,000. */
  readonly attemptMs?: number;
}

export type LinkState =
  | { readonly kind: "connecting"; readonly attempt: number }
  | { readonly kind: "ready"; readonly session: Session }
  | { readonly kind: "waiting"; readonly attempt: number; readonly delayMs: number; readonly error: ZoneError }
  | { readonly kind: "closed" };

/** Keeps a session to one agent open. */
export class ReconnectingLink {
  onState: (state: LinkState) => void = () => {};
  #state: LinkState = { kind: "connecting", attempt: 0 };

  constructor(
    readonly uri: string,
    readonly options: ReconnectingOptions,
  ) {}

  get state(): LinkState {
    return this.#state;
  }

  /** The client of the session that is ready, or of the next one. Rejects with UNAVAILABLE after `timeoutMs` (default: no limit). */
  ready(signal?: AbortSignal, timeoutMs?: number): Promise<grpc.Client> {
    return Promise.reject(new Error(`not yet: ${signal} ${timeoutMs}`));
  }

  /** The zone is paused: no keepalive. */
  suspend(): void {}

  resume(): void {}

  /** Orderly end of the session, if there is one; no more attempts. */
  async close(): Promise<void> {}
}
