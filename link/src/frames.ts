import { crc32 } from "node:zlib";
import { MAGIC } from "./magic.js";

/**
 * Frames of the handshake: `magic(16) | type u8 | length u16 | body | crc32 u32`, numbers big-endian, the CRC-32 over type,
 * length and body. A decoder takes no notice of bytes after the fields that it knows, nor of types that it does not know, so that
 * later versions can add both. Texts are `length u8 | bytes`.
 */
export type Frame =
  | {
      readonly type: "hello";
      readonly min: number;
      readonly max: number;
      /** "probe": only answer; "session": answer, and wait for the confirmation. */
      readonly purpose: "session" | "probe";
      readonly nonce: Buffer;
      readonly zoneId: string;
    }
  | {
      readonly type: "ack";
      readonly version: number;
      /** The hello's nonce. */
      readonly echo: Buffer;
      readonly nonce: Buffer;
      readonly zoneId: string;
      readonly bootId: string;
      readonly agentVersion: string;
    }
  | { readonly type: "reject"; readonly echo: Buffer; readonly min: number; readonly max: number }
  | { readonly type: "confirm"; readonly echo: Buffer }
  /** One-stream links: the agent (re)started to wait for a hello; whatever session there was is over. */
  | { readonly type: "ready" };

export const NONCE_BYTES = 32;
export const MAX_TEXT_BYTES = 64;
export const MAX_FRAME_BYTES = 512;
const HEADER_BYTES = MAGIC.length + 3;
const CRC_BYTES = 4;
export const MAX_BODY_BYTES: number = MAX_FRAME_BYTES - HEADER_BYTES - CRC_BYTES;

/** 0 is LITERAL of stuffing.ts. */
const TYPES = { hello: 1, ack: 2, reject: 3, confirm: 4, ready: 5 } as const;
const PURPOSES = ["session", "probe"] as const;

/** The frame's bytes. Throws RangeError for a field that does not fit: texts are at most 64 printable ASCII characters. */
export function encodeFrame(frame: Frame): Buffer {
  const body = Buffer.concat(fields(frame));
  const head = Buffer.allocUnsafe(3);
  head.writeUInt8(TYPES[frame.type], 0);
  head.writeUInt16BE(body.length, 1);
  const checked = Buffer.concat([head, body]);
  return Buffer.concat([MAGIC, checked, u32(crc32(checked))]);
}

function fields(frame: Frame): Buffer[] {
  switch (frame.type) {
    case "hello":
      return [
        u16(frame.min),
        u16(frame.max),
        Buffer.of(PURPOSES.indexOf(frame.purpose)),
        nonce(frame.nonce),
        text(frame.zoneId),
      ];
    case "ack":
      return [
        u16(frame.version),
        nonce(frame.echo),
        nonce(frame.nonce),
        text(frame.zoneId),
        text(frame.bootId),
        text(frame.agentVersion),
      ];
    case "reject":
      return [nonce(frame.echo), u16(frame.min), u16(frame.max)];
    case "confirm":
      return [nonce(frame.echo)];
    case "ready":
      return [];
  }
}

/** The frame's length when `bytes` begins with a header; undefined when there is too little of it; throws nothing. */
export function frameLength(bytes: Buffer): number | undefined {
  return bytes.length < HEADER_BYTES ? undefined : HEADER_BYTES + bytes.readUInt16BE(MAGIC.length + 1) + CRC_BYTES;
}

/** True when the CRC of a whole frame is right. */
export function frameIsIntact(frame: Buffer): boolean {
  const end = frame.length - CRC_BYTES;
  return crc32(frame.subarray(MAGIC.length, end)) === frame.readUInt32BE(end);
}

/** Decodes a whole, intact frame; undefined for a type or body that this version does not know. */
export function decodeFrame(bytes: Buffer): Frame | undefined {
  const body = new BodyReader(bytes.subarray(HEADER_BYTES, bytes.length - CRC_BYTES));
  const frame = decodeBody(bytes[MAGIC.length], body);
  return body.failed ? undefined : frame;
}

function decodeBody(type: number | undefined, body: BodyReader): Frame | undefined {
  switch (type) {
    case TYPES.hello: {
      const [min, max, purpose] = [body.u16(), body.u16(), PURPOSES[body.u8()]];
      if (purpose === undefined) return undefined;
      return { type: "hello", min, max, purpose, nonce: body.nonce(), zoneId: body.text() };
    }
    case TYPES.ack:
      return {
        type: "ack",
        version: body.u16(),
        echo: body.nonce(),
        nonce: body.nonce(),
        zoneId: body.text(),
        bootId: body.text(),
        agentVersion: body.text(),
      };
    case TYPES.reject:
      return { type: "reject", echo: body.nonce(), min: body.u16(), max: body.u16() };
    case TYPES.confirm:
      return { type: "confirm", echo: body.nonce() };
    case TYPES.ready:
      return { type: "ready" };
    default:
      return undefined;
  }
}

/** Reads fields in order; after one that is not there or not well-formed, `failed` stays true. */
class BodyReader {
  failed = false;
  #at = 0;

  constructor(readonly bytes: Buffer) {}

  u8(): number {
    return this.#take(1).readUInt8(0);
  }

  u16(): number {
    return this.#take(2).readUInt16BE(0);
  }

  /** A copy: the chunk that it came in must not live as long as the nonce. */
  nonce(): Buffer {
    return Buffer.from(this.#take(NONCE_BYTES));
  }

  text(): string {
    const value = this.#take(this.u8()).toString("latin1");
    if (!isText(value)) this.failed = true;
    return value;
  }

  #take(count: number): Buffer {
    if (this.#at + count > this.bytes.length) {
      this.failed = true;
      return Buffer.alloc(count);
    }
    this.#at += count;
    return this.bytes.subarray(this.#at - count, this.#at);
  }
}

function isText(value: string): boolean {
  return value.length <= MAX_TEXT_BYTES && /^[\x20-\x7e]*$/.test(value);
}

function text(value: string): Buffer {
  if (!isText(value))
    throw new RangeError(`not at most ${MAX_TEXT_BYTES} printable ASCII characters: ${JSON.stringify(value)}`);
  return Buffer.concat([Buffer.of(value.length), Buffer.from(value, "latin1")]);
}

function nonce(value: Buffer): Buffer {
  if (value.length !== NONCE_BYTES) throw new RangeError(`a nonce has ${NONCE_BYTES} bytes, not ${value.length}`);
  return value;
}

function u16(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(2);
  bytes.writeUInt16BE(value);
  return bytes;
}

function u32(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(4);
  bytes.writeUInt32BE(value);
  return bytes;
}
