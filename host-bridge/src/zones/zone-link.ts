import type * as grpc from "@grpc/grpc-js";
import { type LinkState, ReconnectingLink, type Session } from "@zone/link";
import { createClient, SystemService, ZoneError, type zone } from "@zone/proto";
import { deferred } from "./deferred.js";

export type LinkEvent = "link-up" | "link-down" | "agent-restarted";
type Info = zone.agent.v1.InfoResponse;

/** Who wants to know about a link. */
export interface LinkListener {
  onLink(event: LinkEvent): void;
  /** What the zone says of itself; once per session that was asked for. */
  onInfo(info: Info): void;
}

/** A session and which of the agent's lives it is with: streams start anew with a restarted agent. */
export interface AgentSession {
  client: grpc.Client;
  restarts: number;
}

const INFO_TIMEOUT_MS = 30_000;

/** The link to a zone's agent: kept open, with its ups and downs told. */
export class ZoneLink {
  readonly #uri: string;
  readonly #zoneId: string;
  readonly #opened = deferred();
  #link: ReconnectingLink | undefined;
  #closed = false;
  readonly #listener: LinkListener;
  readonly #restarts = new WeakMap<grpc.Client, Promise<number>>();
  #lastRestarts: number | undefined;
  #up: Session | undefined;

  /** Begins to open it at once, unless the zone is `paused`: then no hello would be answered before `resume`. */
  constructor(uri: string, zoneId: string, listener: LinkListener, paused = false) {
    this.#uri = uri;
    this.#zoneId = zoneId;
    this.#listener = listener;
    if (!paused) this.#open();
  }

  /** The client of the session that is open, or of the next one. Rejects with UNAVAILABLE after `timeoutMs`. */
  async client(signal: AbortSignal, timeoutMs?: number): Promise<grpc.Client> {
    if (!this.#link) await Promise.race([this.#opened.promise, delay(timeoutMs ?? MAX_TIMER_MS, signal)]);
    if (this.#link) return this.#link.ready(signal, timeoutMs);
    const message = this.#closed ? "the link is closed" : "the zone is paused";
    throw new ZoneError({ code: "UNAVAILABLE", reason: "LINK_NOT_READY", domain: "zone.link", message });
  }

  /** The zone stands still: its silence is no sign of a lost link. */
  suspend(): void {
    this.#link?.suspend();
  }

  /** The zone runs again. */
  resume(): void {
    if (this.#link) this.#link.resume();
    else if (!this.#closed) this.#open();
  }

  /** The session that is open or the next one, with the number of times that the agent has restarted. */
  async session(signal: AbortSignal): Promise<AgentSession> {
    const client = await this.client(signal);
    let asked = this.#restarts.get(client);
    if (!asked) {
      asked = this.#askRestarts(client);
      this.#restarts.set(client, asked);
      asked.catch(() => this.#restarts.delete(client));
    }
    return { client, restarts: await asked };
  }

  /** Ends the session in order; the agent waits for the next one. Nobody is told. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#opened.resolve();
    if (!this.#link) return;
    this.#link.onState = () => {};
    await this.#link.close();
  }

  #open(): void {
    const link = new ReconnectingLink(this.#uri, { zoneId: this.#zoneId });
    this.#link = link;
    link.onState = (state) => this.#onState(state);
    this.#onState(link.state);
    this.#opened.resolve();
  }

  async #askRestarts(client: grpc.Client): Promise<number> {
    const info = await createClient(SystemService, client).info({ brief: true }, { timeoutMs: INFO_TIMEOUT_MS });
    const { agentRestarts } = info;
    if (this.#lastRestarts !== undefined && agentRestarts !== this.#lastRestarts)
      this.#listener.onLink("agent-restarted");
    this.#lastRestarts = agentRestarts;
    this.#listener.onInfo(info);
    return agentRestarts;
  }

  #onState(state: LinkState): void {
    const up = state.kind === "ready" ? state.session : undefined;
    if (up === this.#up) return;
    const was = this.#up;
    this.#up = up;
    if (was) this.#listener.onLink("link-down");
    if (up) this.#listener.onLink("link-up");
  }
}

/** Whether a call failed because of the link and not because of what the agent answered. */
export function isLinkError(error: ZoneError): boolean {
  return error.domain === "zone.link" || (error.code === "UNAVAILABLE" && error.domain === "grpc");
}

/** Milliseconds before a call is made again. After a lost link it is soon: the link itself waits until it is remade. */
const RETRY_MS = 1000;
const FIRST_RELINK_MS = 20;

/**
 * Does `attempt` again until it succeeds, or fails with an error that `isFinal`, or `signal` aborts: for what must be
 * learnt from an agent however often its link is remade. `onFailure` hears of every failure that is not the link's.
 */
export async function persist<T>(
  attempt: () => Promise<T>,
  options: { signal: AbortSignal; isFinal: (error: ZoneError) => boolean; onFailure: (error: ZoneError) => void },
): Promise<T> {
  const { signal } = options;
  for (let relink = FIRST_RELINK_MS; ; relink = Math.min(relink * 2, RETRY_MS)) {
    try {
      return await attempt();
    } catch (thrown) {
      const error = ZoneError.from(thrown);
      if (signal.aborted || options.isFinal(error)) throw error;
      const lost = isLinkError(error);
      if (!lost) options.onFailure(error);
      await delay(lost ? relink : RETRY_MS, signal);
    }
  }
}

/** setTimeout's longest; what is longer would be at once. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** Settles after `ms` (25 days at most), or at once when `signal` aborts. */
export function delay(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, Math.min(ms, MAX_TIMER_MS));
    signal?.addEventListener("abort", done, { once: true });
    if (signal?.aborted) done();
  });
}
