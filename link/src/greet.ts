import type { Duplex } from "node:stream";
import type { ZoneError } from "@zone/proto";
import { cancelled, linkError } from "./errors.js";
import { type BridgeState, bridgeGreets, bridgeStep, kernelNonce } from "./handshake.js";
import type { HandshakeStream } from "./handshake-stream.js";
import type { AgentHello } from "./hello.js";

export interface GreetOptions {
  /** For messages. */
  readonly uri: string;
  readonly purpose: "session" | "probe";
  readonly zoneId: string;
  /** Say the hello again after so many milliseconds, for an agent that starts to listen late; 0: never. */
  readonly repeatMs: number;
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
}

export interface Greeted {
  readonly agent: AgentHello;
  /** Purpose "session": the session's bytes. */
  readonly duplex?: Duplex;
}

/** The bridge's side of a handshake on a stream. When it rejects, the stream is destroyed. */
export function greet(stream: HandshakeStream, options: GreetOptions): Promise<Greeted> {
  const { uri, purpose, zoneId, repeatMs, timeoutMs, signal } = options;
  return new Promise((resolve, reject) => {
    const { state: greeting, send: hello } = bridgeGreets(purpose, zoneId, kernelNonce());
    let state: BridgeState = greeting;

    const fail = (error: ZoneError) => {
      stop();
      stream.destroy();
      reject(error);
    };
    const sayHello = () => {
      if (hello) stream.send(hello);
    };
    const onAbort = () => {
      if (signal) fail(cancelled(`the handshake on ${uri}`, signal));
    };
    const stop = () => {
      clearTimeout(limit);
      clearInterval(repeat);
      signal?.removeEventListener("abort", onAbort);
      stream.onFrame = () => {};
      stream.onEnd = () => {};
    };
    stream.onFrame = (frame) => {
      const step = bridgeStep(state, frame);
      state = step.state;
      if (step.send) stream.send(step.send);
      if (state.kind === "refused") fail(state.error);
      if (state.kind !== "accepted") return;
      stop();
      resolve({ agent: state.agent, ...(purpose === "session" ? { duplex: stream.begin() } : {}) });
    };
    stream.onEnd = fail;
    signal?.addEventListener("abort", onAbort, { once: true });
    const limit = setTimeout(() => fail(noAnswer(uri, timeoutMs)), timeoutMs);
    const repeat = repeatMs > 0 ? setInterval(sayHello, repeatMs) : undefined;
    if (signal?.aborted) onAbort();
    else sayHello();
  });
}

function noAnswer(uri: string, timeoutMs: number): ZoneError {
  return linkError(
    "DEADLINE_EXCEEDED",
    "HANDSHAKE_TIMEOUT",
    `no agent answered on ${uri} within ${Math.round(timeoutMs)} ms: the zone is still booting, is paused, or has no agent`,
    uri,
  );
}
