import type { Duplex } from "node:stream";
import type { ZoneError } from "@zone/proto";
import { DecoupledDuplex } from "./decoupled-duplex.js";
import { linkError } from "./errors.js";
import { FrameScanner } from "./frame-scanner.js";
import type { Frame } from "./frames.js";
import { garbage, type HandshakeStream, lost, MAX_DISCARDED_BYTES } from "./handshake-stream.js";
import { Stuffer, Unstuffer } from "./stuffing.js";

/** Scanning for frames, or a session, and nothing more once the stream is over. */
type Mode =
  | { readonly kind: "scanning"; readonly scanner: FrameScanner }
  | { readonly kind: "session"; readonly session: PortSession; readonly unstuffer: Unstuffer }
  | { readonly kind: "over" };

/**
 * A stream that outlives its sessions: a serial port or ring. Each session is a Duplex of its own over it, so that the end of an
 * HTTP/2 session does not close the port. When a session is over, whoever ended it, the port looks for frames again.
 */
export class OneStreamPort implements HandshakeStream {
  onFrame: (frame: Frame) => void = () => {};
  onEnd: (error: ZoneError) => void = () => {};
  /** The session that `begin` gave is over: with the error that ended it, or undefined when its owner did. Scanning again. */
  onSessionEnd: (error: ZoneError | undefined) => void = () => {};
  #mode: Mode = { kind: "scanning", scanner: new FrameScanner() };

  constructor(
    readonly raw: Duplex,
    readonly maxDiscarded: number = MAX_DISCARDED_BYTES,
  ) {
    raw.on("data", (chunk: Buffer) => this.#take(chunk));
    raw.on("error", (error) => this.#end(lost(error)));
    raw.on("end", () => this.#end(lost()));
    raw.on("close", () => this.#end(lost()));
  }

  send(frame: Buffer): void {
    if (this.#mode.kind !== "over") this.raw.write(frame);
  }

  begin(): Duplex {
    if (this.#mode.kind !== "scanning") throw new Error(`no session can begin on a port that is ${this.#mode.kind}`);
    const { scanner } = this.#mode;
    const session = new PortSession(this.raw, () => this.#scanAgain(undefined));
    this.#mode = { kind: "session", session, unstuffer: new Unstuffer() };
    const rest = scanner.takeRest();
    if (rest.length > 0) this.#take(rest);
    return session;
  }

  /** Ends the session, if there is one. */
  endSession(): void {
    this.#scanAgain(undefined);
  }

  destroy(): void {
    const mode = this.#mode;
    this.#mode = { kind: "over" };
    if (mode.kind === "session") mode.session.destroy();
    this.raw.destroy();
  }

  #take(chunk: Buffer): void {
    switch (this.#mode.kind) {
      case "scanning":
        this.#scan(this.#mode.scanner, chunk);
        return;
      case "session": {
        const { session, unstuffer } = this.#mode;
        const { payload, handshake } = unstuffer.push(chunk);
        for (const part of payload) session.receive(part);
        if (handshake) {
          // A magic in a session means that the peer has left it, and speaks to whoever listens now.
          this.#scanAgain(
            linkError("UNAVAILABLE", "PEER_RESTARTED", "the link was lost: the peer began a new handshake"),
          );
          this.#take(handshake);
        }
        return;
      }
      case "over":
        return;
    }
  }

  #scan(scanner: FrameScanner, chunk: Buffer): void {
    scanner.push(chunk);
    while (this.#mode.kind === "scanning" && this.#mode.scanner === scanner) {
      const frame = scanner.next();
      if (!frame) {
        if (scanner.discarded > this.maxDiscarded) this.#end(garbage(scanner.discarded));
        return;
      }
      this.onFrame(frame);
    }
  }

  #scanAgain(error: ZoneError | undefined): void {
    if (this.#mode.kind !== "session") return;
    const { session } = this.#mode;
    this.#mode = { kind: "scanning", scanner: new FrameScanner() };
    session.destroy();
    this.raw.resume(); // a session may have left it paused
    this.onSessionEnd(error);
  }

  #end(error: ZoneError): void {
    if (this.#mode.kind === "over") return;
    const mode = this.#mode;
    this.#mode = { kind: "over" };
    this.raw.destroy();
    if (mode.kind === "session") {
      mode.session.destroy();
      this.onSessionEnd(error);
    }
    this.onEnd(error);
  }
}

/** The bytes of one session on a port. Its end, of either direction, is told to the peer by HTTP/2 (GOAWAY) and not by the port. */
class PortSession extends DecoupledDuplex {
  readonly #stuffer = new Stuffer();

  constructor(
    raw: Duplex,
    readonly onDestroy: () => void,
  ) {
    super(raw);
  }

  protected override encode(chunk: Buffer): Buffer[] {
    return this.#stuffer.push(chunk);
  }

  override _final(done: (error?: Error | null) => void): void {
    this.receiveEnd(); // HTTP/2 ends its stream when it is through, and then waits for the peer's end, which a port does not have
    done();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.onDestroy();
    done(error);
  }
}
