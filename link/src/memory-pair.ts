import type { Duplex } from "node:stream";

/** Two connected Duplexes in memory, with back-pressure: what is written to one is read from the other. */
export function memoryDuplexPair(): [Duplex, Duplex] {
  throw new Error("not yet");
}
