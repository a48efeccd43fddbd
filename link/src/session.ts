import type * as grpc from "@grpc/grpc-js";
import type { AgentHello } from "./hello.js";

export interface ProbeOptions {
  /** What the bridge believes this zone's id to be; empty when it has none yet. */
  readonly zoneId: string;
  /** Milliseconds for transport and handshake together. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
}

export interface SessionOptions extends ProbeOptions {
  /** Milliseconds between PINGs; 0: none. Default 10,000. A session without an answer for twice that long is dead. */
  readonly keepaliveMs?: number;
}

/** One session: handshake done, HTTP/2 running. */
export interface Session {
  readonly client: grpc.Client;
  readonly hello: AgentHello;
  /** Settles when the session is over: with undefined after close(), else with the error that ended it. Never rejects. */
  readonly closed: Promise<Error | undefined>;
  /** Orderly end: GOAWAY, then wait (bounded) until the agent waits for the next hello. Calls that still run are cut after `graceMs`. */
  close(graceMs?: number): Promise<void>;
  /** No keepalive while the zone is paused. */
  suspend(): void;
  resume(): void;
}

/** Is an agent there, ready for a session? One handshake; the agent waits for the next hello afterwards. */
export function probeAgent(uri: string, options: ProbeOptions): Promise<AgentHello> {
  return Promise.reject(new Error(`not yet: ${uri} ${options.zoneId}`));
}

/** Opens a session: transport, handshake, HTTP/2. Rejects with a ZoneError of domain "zone.link". */
export function openSession(uri: string, options: SessionOptions): Promise<Session> {
  return Promise.reject(new Error(`not yet: ${uri} ${options.zoneId}`));
}
