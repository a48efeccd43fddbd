import type { Duplex } from "node:stream";
import { encodeFrame, type Frame } from "./frames.js";
import { type AgentContext, type AgentState, agentStep, WAITING } from "./handshake.js";
import type { HandshakeStream } from "./handshake-stream.js";

/** A hello whose confirmation does not come within so many milliseconds is forgotten. */
const CONFIRM_MS = 5000;

/** What a handshake has agreed on. */
export interface Agreed {
  readonly version: number;
  /** The zone that the bridge believes this to be. */
  readonly zoneId: string;
}

/** The agent's side of handshakes on a stream: answers until a session is agreed on, and then gives its bytes to `onOpen`. */
export class AgentGreeter {
  #state: AgentState = WAITING;
  #timer: NodeJS.Timeout | undefined;

  constructor(
    readonly stream: HandshakeStream,
    readonly context: AgentContext,
    readonly onOpen: (duplex: Duplex, agreed: Agreed) => void,
  ) {
    stream.onFrame = (frame) => this.#step(frame);
  }

  /** One-stream links: tells a bridge, which may believe in a session, that this side waits for a hello. */
  announce(): void {
    this.stream.send(encodeFrame({ type: "ready" }));
  }

  /** The stream is given up. */
  stop(): void {
    clearTimeout(this.#timer);
  }

  #step(event: Frame | { type: "expired" }): void {
    const { state, send } = agentStep(this.#state, event, this.context);
    if (send) this.stream.send(send);
    if (state === this.#state) return;
    clearTimeout(this.#timer);
    this.#state = state;
    if (state.kind === "confirming") {
      this.#timer = setTimeout(() => this.#step({ type: "expired" }), CONFIRM_MS);
    }
    if (event.type === "expired") this.announce();
    if (state.kind !== "open") return;
    this.#state = WAITING; // for the handshake after this session
    this.onOpen(this.stream.begin(), { version: state.version, zoneId: state.zoneId });
  }
}
