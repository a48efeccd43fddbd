import { MAGIC, MagicMatcher } from "./magic.js";

/**
 * How a handshake is told from a session's bytes on a link that has one stream only. A bridge that has died, a snapshot or a
 * restarted agent leave the other side in the middle of an HTTP/2 frame; whatever comes next would be taken for the rest of
 * that frame, and could even reach a process as its input. So a session's bytes never contain the magic alone: the sender puts
 * a LITERAL byte after each magic that the session happens to send, and the receiver takes it out. A magic with any other byte
 * after it (a frame's type) is the peer's new handshake. One search per chunk; nothing is held back, except a whole magic until
 * the byte after it.
 */
export const LITERAL = 0;

/** Sender's side: payload to what goes on the wire. */
export class Stuffer {
  readonly #matcher = new MagicMatcher();

  /** The chunks to send for one chunk of payload: nearly always that chunk itself. */
  push(payload: Buffer): Buffer[] {
    const wire: Buffer[] = [];
    let from = 0;
    for (;;) {
      const end = this.#matcher.nextEnd(payload, from);
      if (end < 0) break;
      wire.push(payload.subarray(from, end), Buffer.of(LITERAL));
      from = end;
    }
    if (from < payload.length) wire.push(from === 0 ? payload : payload.subarray(from));
    return wire;
  }
}

/** What the receiver makes of one chunk. */
export interface Unstuffed {
  readonly payload: Buffer[];
  /** Set when the peer has left the session: its bytes from the magic on. Nothing may be pushed after this. */
  readonly handshake?: Buffer;
}

/** Receiver's side: what came from the wire to payload. Up to 15 bytes of a handshake's magic may be in the payload before it. */
export class Unstuffer {
  readonly #matcher = new MagicMatcher();
  /** A magic has ended with the last chunk: the part of it that was in that chunk. The next byte decides. */
  #undecided: Buffer | undefined;

  push(wire: Buffer): Unstuffed {
    const payload: Buffer[] = [];
    let from = 0;
    let end = 0;
    if (wire.length === 0) return { payload };
    if (this.#undecided) {
      if (wire[0] !== LITERAL) return { payload, handshake: Buffer.concat([MAGIC, wire]) };
      payload.push(this.#undecided);
      this.#undecided = undefined;
      from = 1;
    }
    for (;;) {
      end = this.#matcher.nextEnd(wire, from);
      if (end < 0) break;
      const start = Math.max(from, end - MAGIC.length);
      if (end === wire.length) {
        this.#undecided = wire.subarray(start);
        if (start > from) payload.push(wire.subarray(from, start));
        return { payload };
      }
      if (wire[end] !== LITERAL) {
        if (start > from) payload.push(wire.subarray(from, start));
        return { payload, handshake: Buffer.concat([MAGIC, wire.subarray(end)]) };
      }
      payload.push(wire.subarray(from, end));
      from = end + 1;
    }
    if (from < wire.length) payload.push(from === 0 ? wire : wire.subarray(from));
    return { payload };
  }
}
