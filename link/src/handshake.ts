import { closeSync, openSync, readSync } from "node:fs";
import type { ZoneError } from "@zone/proto";
import { linkError } from "./errors.js";
import { encodeFrame, type Frame, NONCE_BYTES } from "./frames.js";
import { type AgentHello, type AgentIdentity, PROTOCOL_MAX, PROTOCOL_MIN } from "./hello.js";

/**
 * The two sides of the handshake as pure state machines. A frame that does not answer the newest nonce is from, or for, someone
 * who is gone: it changes nothing.
 */

export interface VersionRange {
  readonly min: number;
  readonly max: number;
}

export const OUR_VERSIONS: VersionRange = { min: PROTOCOL_MIN, max: PROTOCOL_MAX };

/** A step's result: the new state, and the bytes to send, if there are any. */
export interface Step<State> {
  readonly state: State;
  readonly send?: Buffer;
}

/**
 * Bridge: greeting --ack--> accepted
 *         greeting --reject, bad ack--> refused
 * Only `greeting` has edges.
 */
export type BridgeState =
  | { readonly kind: "greeting"; readonly hello: HelloFrame; readonly saidAgain: boolean }
  | { readonly kind: "accepted"; readonly agent: AgentHello }
  | { readonly kind: "refused"; readonly error: ZoneError };

type HelloFrame = Extract<Frame, { type: "hello" }>;
type AckFrame = Extract<Frame, { type: "ack" }>;

/** The bridge's first step. */
export function bridgeGreets(
  purpose: "session" | "probe",
  zoneId: string,
  nonce: Buffer,
  versions: VersionRange = OUR_VERSIONS,
): Step<Extract<BridgeState, { kind: "greeting" }>> {
  const hello: HelloFrame = { type: "hello", ...versions, purpose, nonce, zoneId };
  return { state: { kind: "greeting", hello, saidAgain: false }, send: encodeFrame(hello) };
}

export function bridgeStep(state: BridgeState, frame: Frame): Step<BridgeState> {
  if (state.kind !== "greeting") throw new Error(`a bridge that has ${state.kind} takes no more frames`);
  const { hello } = state;
  switch (frame.type) {
    case "ready": // the agent has started to listen just now: what was said before may be lost
      if (state.saidAgain) return { state }; // once: an agent must not make us write without end
      return { state: { ...state, saidAgain: true }, send: encodeFrame(hello) };
    case "ack": {
      if (!frame.echo.equals(hello.nonce)) return { state };
      const error = objection(hello, frame);
      if (error) return { state: { kind: "refused", error } };
      const { version, zoneId, bootId, agentVersion } = frame;
      const accepted: BridgeState = { kind: "accepted", agent: { version, zoneId, bootId, agentVersion } };
      if (hello.purpose === "probe") return { state: accepted };
      return { state: accepted, send: encodeFrame({ type: "confirm", echo: frame.nonce }) };
    }
    case "reject": {
      if (!frame.echo.equals(hello.nonce)) return { state };
      return { state: { kind: "refused", error: versionMismatch(hello, frame) } };
    }
    case "hello":
    case "confirm": // an echo of our own, or nonsense
      return { state };
  }
}

function objection(hello: HelloFrame, ack: AckFrame): ZoneError | undefined {
  if (ack.version < hello.min || ack.version > hello.max) {
    return versionMismatch(hello, { min: ack.version, max: ack.version });
  }
  if (hello.zoneId !== "" && ack.zoneId !== "" && hello.zoneId !== ack.zoneId) {
    return linkError(
      "FAILED_PRECONDITION",
      "ZONE_MISMATCH",
      `expected the agent of zone ${hello.zoneId}, but the agent of zone ${ack.zoneId} answered: ` +
        "the address belongs to another zone by now",
    );
  }
  return undefined;
}

function versionMismatch(bridge: VersionRange, agent: VersionRange): ZoneError {
  return linkError(
    "FAILED_PRECONDITION",
    "VERSION_MISMATCH",
    `the bridge speaks protocol ${range(bridge)}, the agent ${range(agent)}: ` +
      `upgrade the ${bridge.max < agent.min ? "bridge" : "zone's image"}`,
  );
}

function range({ min, max }: VersionRange): string {
  return min === max ? `version ${min}` : `versions ${min} to ${max}`;
}

/**
 * Agent: waiting --hello(session)--> confirming --confirm--> open
 *        waiting, confirming --hello(probe), hello that no version fits--> waiting
 *        confirming --another hello(session)--> confirming
 *        confirming --expired--> waiting
 * `open` has no edges: the session follows, and a new handshake begins with `waiting`.
 */
export type AgentState =
  | { readonly kind: "waiting" }
  | { readonly kind: "confirming"; readonly hello: HelloFrame; readonly version: number; readonly nonce: Buffer }
  | { readonly kind: "open"; readonly version: number; readonly zoneId: string };

export interface AgentContext {
  readonly identity: () => AgentIdentity;
  /** 32 bytes that no clone of this machine gets too. */
  readonly nonce: () => Buffer;
  readonly versions: VersionRange;
}

export const WAITING: AgentState = { kind: "waiting" };

export function agentStep(
  state: AgentState,
  event: Frame | { type: "expired" },
  context: AgentContext,
): Step<AgentState> {
  if (state.kind === "open") throw new Error("an agent whose session is open takes no more frames");
  switch (event.type) {
    case "hello":
      // The bridge repeats its hello until it has our answer, which is on its way.
      if (state.kind === "confirming" && event.nonce.equals(state.hello.nonce)) return { state };
      return answer(event, context);
    case "confirm":
      if (state.kind !== "confirming" || !event.echo.equals(state.nonce)) return { state };
      return { state: { kind: "open", version: state.version, zoneId: state.hello.zoneId } };
    case "expired":
      return { state: WAITING };
    case "ack":
    case "reject":
    case "ready": // an echo of our own, or nonsense
      return { state };
  }
}

function answer(hello: HelloFrame, context: AgentContext): Step<AgentState> {
  const version = Math.min(hello.max, context.versions.max);
  if (version < Math.max(hello.min, context.versions.min)) {
    return { state: WAITING, send: encodeFrame({ type: "reject", echo: hello.nonce, ...context.versions }) };
  }
  const { zoneId, bootId, agentVersion } = context.identity();
  const nonce = context.nonce();
  const send = encodeFrame({ type: "ack", version, echo: hello.nonce, nonce, zoneId, bootId, agentVersion });
  return { state: hello.purpose === "probe" ? WAITING : { kind: "confirming", hello, version, nonce }, send };
}

/** From the kernel, at each call: OpenSSL's generator is in memory, and the clones of a template share its state. */
export function kernelNonce(): Buffer {
  const fd = openSync("/dev/urandom", "r");
  try {
    const nonce = Buffer.alloc(NONCE_BYTES);
    const read = readSync(fd, nonce); // urandom(4): up to 256 bytes are never cut short
    if (read !== NONCE_BYTES) throw new Error(`/dev/urandom gave ${read} of ${NONCE_BYTES} bytes`);
    return nonce;
  } finally {
    closeSync(fd);
  }
}
