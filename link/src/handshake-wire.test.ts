import { randomBytes } from "node:crypto";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { FrameScanner } from "./frame-scanner.js";
import { encodeFrame, type Frame, MAX_FRAME_BYTES, NONCE_BYTES } from "./frames.js";
import { MAGIC, MagicMatcher } from "./magic.js";

const nonce = fc.uint8Array({ minLength: NONCE_BYTES, maxLength: NONCE_BYTES }).map((bytes) => Buffer.from(bytes));
const text = fc.string({ unit: "grapheme-ascii", maxLength: 64 });
const u16 = fc.nat(0xffff);
const frame: fc.Arbitrary<Frame> = fc.oneof(
  fc.record({
    type: fc.constant("hello" as const),
    min: u16,
    max: u16,
    purpose: fc.constantFrom("session" as const, "probe" as const),
    nonce,
    zoneId: text,
  }),
  fc.record({
    type: fc.constant("ack" as const),
    version: u16,
    echo: nonce,
    nonce,
    zoneId: text,
    bootId: text,
    agentVersion: text,
  }),
  fc.record({ type: fc.constant("reject" as const), echo: nonce, min: u16, max: u16 }),
  fc.record({ type: fc.constant("confirm" as const), echo: nonce }),
  fc.record({ type: fc.constant("ready" as const) }),
);

/** Garbage that is likely to look like frames: pieces of the magic and of frames among other bytes. */
const garbage = fc
  .array(
    fc.oneof(
      fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
      fc.nat(MAGIC.length - 1).map((length) => MAGIC.subarray(0, length)),
      fc.constant(Buffer.concat([MAGIC, Buffer.of(0)])),
      fc.constant(Buffer.concat([MAGIC, Buffer.of(2, 0xff, 0xff)])),
      fc.constant(Buffer.concat([MAGIC, Buffer.of(2, 0, 200)])),
      fc.tuple(frame, fc.nat(MAX_FRAME_BYTES)).map(([whole, cut]) => {
        const bytes = encodeFrame(whole);
        // A frame that its sender did not finish; its CRC is missing, so that no garbage after it can complete it by chance.
        return bytes.subarray(0, Math.min(cut, bytes.length - 4));
      }),
      fc.tuple(frame, fc.nat()).map(([whole, at]) => {
        const bytes = encodeFrame(whole);
        bytes.writeUInt8(
          bytes.readUInt8(MAGIC.length + (at % (bytes.length - MAGIC.length))) ^ 1,
          MAGIC.length + (at % (bytes.length - MAGIC.length)),
        );
        return bytes;
      }),
    ),
    { maxLength: 6 },
  )
  .map((parts) => Buffer.concat(parts));

function scan(chunks: Buffer[]): { frames: Frame[]; scanner: FrameScanner } {
  const scanner = new FrameScanner();
  const frames: Frame[] = [];
  for (const chunk of chunks) {
    scanner.push(chunk);
    for (let found = scanner.next(); found; found = scanner.next()) frames.push(found);
  }
  return { frames, scanner };
}

function cut(bytes: Buffer, places: number[]): Buffer[] {
  const at = [...new Set(places.map((place) => place % (bytes.length + 1)))].sort((a, b) => a - b);
  return [0, ...at].map((from, index) => bytes.subarray(from, at[index] ?? bytes.length));
}

describe("FrameScanner", () => {
  test("finds every frame, whatever is before and between, however it is cut", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(garbage, frame), { maxLength: 4 }),
        garbage,
        fc.array(fc.nat(), { maxLength: 20 }),
        (parts, tail, places) => {
          const sent = parts.map(([, whole]) => whole);
          const bytes = Buffer.concat([...parts.flatMap(([before, whole]) => [before, encodeFrame(whole)]), tail]);
          const { frames, scanner } = scan(cut(bytes, places));
          expect(frames).toEqual(sent);
          const used = sent.reduce((sum, whole) => sum + encodeFrame(whole).length, 0);
          expect(scanner.discarded + scanner.takeRest().length).toBe(bytes.length - used);
        },
      ),
      { numRuns: 1000 },
    );
  });

  test("finds a frame that is cut at every byte", () => {
    const hello: Frame = { type: "hello", min: 1, max: 3, purpose: "probe", nonce: randomBytes(32), zoneId: "web" };
    const bytes = Buffer.concat([MAGIC.subarray(0, 7), encodeFrame(hello)]);
    expect(scan([...bytes].map((byte) => Buffer.of(byte))).frames).toEqual([hello]);
    for (let at = 0; at <= bytes.length; at++) {
      expect(scan([bytes.subarray(0, at), bytes.subarray(at)]).frames).toEqual([hello]);
    }
  });

  test("keeps what follows a frame, to the byte", () => {
    const scanner = new FrameScanner();
    const preface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    scanner.push(Buffer.concat([Buffer.from("junk"), encodeFrame({ type: "ready" }), preface]));
    expect(scanner.next()).toEqual({ type: "ready" });
    expect(scanner.takeRest()).toEqual(preface);
    expect(scanner.discarded).toBe(4);
  });

  test("holds less than a frame of what never becomes one", () => {
    fc.assert(
      fc.property(fc.array(garbage, { maxLength: 30 }), (chunks) => {
        const { frames, scanner } = scan(chunks);
        expect(frames).toEqual([]);
        expect(scanner.takeRest().length).toBeLessThan(MAX_FRAME_BYTES);
      }),
    );
  });

  test("passes over intact frames of a type that it does not know, and reads longer bodies than it knows", () => {
    const known = encodeFrame({ type: "ready" });
    const unknown = withCrc(Buffer.concat([MAGIC, Buffer.of(77, 0, 2, 1, 2)]));
    const longer = withCrc(Buffer.concat([MAGIC, Buffer.of(5, 0, 3, 9, 9, 9)]));
    expect(scan([unknown, longer, known]).frames).toEqual([{ type: "ready" }, { type: "ready" }]);
  });

  test("refuses texts that are not printable ASCII, and bodies that are too short", () => {
    const hello = encodeFrame({
      type: "hello",
      min: 1,
      max: 1,
      purpose: "session",
      nonce: Buffer.alloc(32),
      zoneId: "x",
    });
    const body = Buffer.from(hello.subarray(0, -4));
    body.writeUInt8(7, body.length - 1);
    const short = Buffer.from(hello.subarray(0, -6));
    short.writeUInt16BE(short.length - MAGIC.length - 3, MAGIC.length + 1);
    expect(scan([withCrc(body), withCrc(short)]).frames).toEqual([]);
    for (const zoneId of ["é", "a\n", "x".repeat(65)]) {
      expect(() =>
        encodeFrame({ type: "hello", min: 1, max: 1, purpose: "session", nonce: Buffer.alloc(32), zoneId }),
      ).toThrow(RangeError);
    }
  });
});

/** The frame without its CRC, and the right one, by encoding a known frame's way. */
function withCrc(bytes: Buffer): Buffer {
  let crc = 0xffff_ffff;
  for (const byte of bytes.subarray(MAGIC.length)) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb8_8320 : crc >>> 1;
  }
  const end = Buffer.alloc(4);
  end.writeUInt32BE((crc ^ 0xffff_ffff) >>> 0);
  return Buffer.concat([bytes, end]);
}

describe("MAGIC", () => {
  test("has the properties that the search and HTTP/2 rely on", () => {
    expect(MAGIC.length).toBe(16);
    expect(MAGIC.indexOf(MAGIC.readUInt8(0), 1)).toBe(-1);
    expect(MAGIC.readUIntBE(0, 3)).toBeGreaterThan(16384); // no HTTP/2 frame has such a length
  });

  test("is found in a stream by MagicMatcher as by indexOf in the whole", () => {
    const part = fc.oneof(
      fc.uint8Array({ maxLength: 20 }).map((bytes) => Buffer.from(bytes)),
      fc.constant(MAGIC),
      fc.nat(15).map((length) => MAGIC.subarray(0, length)),
    );
    fc.assert(
      fc.property(fc.array(part), fc.array(fc.nat()), (parts, places) => {
        const bytes = Buffer.concat(parts);
        const expected: number[] = [];
        for (let at = bytes.indexOf(MAGIC); at >= 0; at = bytes.indexOf(MAGIC, at + 1))
          expected.push(at + MAGIC.length);
        const found: number[] = [];
        const matcher = new MagicMatcher();
        let base = 0;
        for (const chunk of cut(bytes, places)) {
          for (let end = matcher.nextEnd(chunk, 0); end >= 0; end = matcher.nextEnd(chunk, end)) found.push(base + end);
          base += chunk.length;
        }
        expect(found).toEqual(expected);
      }),
      { numRuns: 1000 },
    );
  });
});
