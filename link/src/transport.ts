import type { Duplex } from "node:stream";
import type { LinkAddress } from "./uri.js";

export interface TransportOptions {
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
}

/** Host side: a raw byte stream to the agent. Rejects with UNAVAILABLE, DEADLINE_EXCEEDED, CANCELLED, or UNIMPLEMENTED (vchan). */
export function openTransport(address: LinkAddress, options: TransportOptions): Promise<Duplex> {
  return Promise.reject(new Error(`not yet: ${address.kind} ${options.timeoutMs}`));
}
