import type { Duplex } from "node:stream";
import { AgentGreeter } from "./agent-greeter.js";
import { linkError } from "./errors.js";
import { DirectStream } from "./handshake-stream.js";
import type { Serving } from "./serve.js";
import type { AgentAddress } from "./uri.js";

/** A connection that has not agreed on a session after so many milliseconds is closed. */
const HELLO_MS = 10_000;
/** Nothing but a handshake has any business on a fresh connection. */
const MAX_DISCARDED_BYTES = 64 * 1024;

/** Agent's side of one connection of a many-stream transport: a handshake, then a session. */
export function serveConnection(connection: Duplex, address: AgentAddress, serving: Serving): void {
  const stream = new DirectStream(connection, MAX_DISCARDED_BYTES);
  const stop = () => {
    clearTimeout(limit);
    serving.signal.removeEventListener("abort", onAbort);
    greeter.stop();
  };
  const onAbort = () => {
    stop();
    stream.destroy();
  };
  const greeter = new AgentGreeter(stream, serving.context, (duplex, agreed) => {
    stop();
    serving.begin(duplex, address, agreed);
  });
  const limit = setTimeout(() => {
    onAbort();
    const error = linkError("DEADLINE_EXCEEDED", "HANDSHAKE_TIMEOUT", `no handshake within ${HELLO_MS} ms`);
    serving.event({ kind: "handshake-failed", address, error });
  }, HELLO_MS);
  serving.signal.addEventListener("abort", onAbort, { once: true });
  stream.onEnd = (error) => {
    stop();
    serving.event({ kind: "handshake-failed", address, error });
  };
}
