import type * as grpc from "@grpc/grpc-js";
import type { ZoneError } from "@zone/proto";
import type { AgentIdentity } from "./hello.js";
import type { AgentAddress } from "./uri.js";

/** What happens on the agent's links; for its log. */
export type ServeEvent =
  | {
      readonly kind: "session-opened";
      readonly address: AgentAddress;
      readonly version: number;
      readonly zoneId: string;
    }
  | { readonly kind: "session-closed"; readonly address: AgentAddress; readonly error?: ZoneError }
  | { readonly kind: "peer-rejected"; readonly address: AgentAddress; readonly peer: { cid: number; port: number } }
  | { readonly kind: "handshake-failed"; readonly address: AgentAddress; readonly error: ZoneError }
  | { readonly kind: "port-lost"; readonly address: AgentAddress; readonly error: ZoneError };

export interface ServeOptions {
  readonly onEvent?: (event: ServeEvent) => void;
  /** Milliseconds between the agent's own PINGs; 0: none. Default 10,000; dead after twice that. */
  readonly keepaliveMs?: number;
}

export interface ServedLinks {
  /** Settles when every address is listened on; rejects when one cannot be. */
  readonly ready: Promise<void>;
  /** Ends all sessions and listeners. */
  close(): Promise<void>;
}

/** Agent's side: waits for bridges on the addresses and serves `server` to each. */
export function serveLinks(
  server: grpc.Server,
  addresses: readonly AgentAddress[],
  identity: () => AgentIdentity,
  options: ServeOptions = {},
): ServedLinks {
  throw new Error(`not yet: ${server} ${addresses.length} ${identity} ${options}`);
}
