import type { Duplex } from "node:stream";

/** Bytes that a peer may send before we have read them, per stream and per session: the one big lever on throughput. */
export const WINDOW_BYTES: number = 1024 * 1024;

/**
 * Gives the stream of an HTTP/2 session up when its peer has ended its direction: HTTP/2 needs both, and node:http2 waits for
 * "close", which a half-open stream does not come to by itself.
 */
export function endTogether(duplex: Duplex): void {
  duplex.once("end", () => duplex.destroy());
}
