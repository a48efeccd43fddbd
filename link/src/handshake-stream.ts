import type { Duplex } from "node:stream";
import type { ZoneError } from "@zone/proto";
import { linkError, messageOf } from "./errors.js";
import { FrameScanner } from "./frame-scanner.js";
import type { Frame } from "./frames.js";

/** Default bound of bytes that a peer may send which are no handshake: more than any session can have in flight. */
export const MAX_DISCARDED_BYTES: number = 4 * 1024 * 1024;

/** A byte stream on which a handshake takes place, and a session begins. */
export interface HandshakeStream {
  /** Called for each frame. The session's first byte is the one after the frame in whose call `begin` is called. */
  onFrame: (frame: Frame) => void;
  /** Called once, when the stream is over, and when the peer has sent too much that is no handshake. */
  onEnd: (error: ZoneError) => void;
  send(frame: Buffer): void;
  /** Begins the session: its bytes, both ways. Nothing else of this object may be used until they are closed. */
  begin(): Duplex;
  /** Gives the stream up. `onEnd` is not called any more. */
  destroy(): void;
}

/** A stream that is used for one session only: a connection of a many-stream transport. `begin` gives the stream itself. */
export class DirectStream implements HandshakeStream {
  onFrame: (frame: Frame) => void = () => {};
  onEnd: (error: ZoneError) => void = () => {};
  readonly #scanner = new FrameScanner();
  #listening = true;

  constructor(
    readonly raw: Duplex,
    readonly maxDiscarded: number = MAX_DISCARDED_BYTES,
  ) {
    raw.on("data", this.#onData);
    raw.on("error", this.#onError);
    raw.on("end", this.#onClose);
    raw.on("close", this.#onClose);
  }

  send(frame: Buffer): void {
    this.raw.write(frame);
  }

  begin(): Duplex {
    this.#stop();
    this.raw.pause();
    const rest = this.#scanner.takeRest();
    if (rest.length > 0) this.raw.unshift(rest);
    return this.raw;
  }

  destroy(): void {
    if (this.#listening) this.#stop();
    this.raw.on("error", () => {}); // nobody is left to tell
    this.raw.destroy();
  }

  #stop(): void {
    this.#listening = false;
    this.raw.off("data", this.#onData);
    this.raw.off("error", this.#onError);
    this.raw.off("end", this.#onClose);
    this.raw.off("close", this.#onClose);
  }

  #end(error: ZoneError): void {
    this.destroy();
    this.onEnd(error);
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#scanner.push(chunk);
    while (this.#listening) {
      const frame = this.#scanner.next();
      if (!frame) break;
      this.onFrame(frame);
    }
    if (this.#listening && this.#scanner.discarded > this.maxDiscarded) this.#end(garbage(this.#scanner.discarded));
  };

  readonly #onError = (error: Error): void => this.#end(lost(error));
  readonly #onClose = (): void => this.#end(lost());
}

export function garbage(bytes: number): ZoneError {
  return linkError(
    "FAILED_PRECONDITION",
    "HANDSHAKE_GARBAGE",
    `the peer sent ${bytes} bytes that are no handshake: it is no zone-agent, or it is broken`,
  );
}

export function lost(error?: unknown): ZoneError {
  const why = error === undefined ? "the peer closed it" : messageOf(error);
  return linkError("UNAVAILABLE", "LINK_LOST", `the link was lost: ${why}`, undefined, error);
}
