import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { encodeFrame } from "./frames.js";
import { MAGIC } from "./magic.js";
import { Stuffer, Unstuffer } from "./stuffing.js";

const part = fc.oneof(
  fc.uint8Array({ maxLength: 20 }).map((bytes) => Buffer.from(bytes)),
  fc.constant(MAGIC),
  fc.nat(15).map((length) => MAGIC.subarray(0, length)),
  fc.constant(Buffer.concat([MAGIC, Buffer.of(0)])),
  fc.constant(encodeFrame({ type: "ready" })),
);

function chunked(bytes: Buffer, sizes: number[]): Buffer[] {
  const chunks: Buffer[] = [];
  let at = 0;
  for (const size of sizes) {
    chunks.push(bytes.subarray(at, at + size));
    at += size;
  }
  return [...chunks, bytes.subarray(at)];
}

function unstuff(chunks: Buffer[]): { payload: Buffer; handshake?: Buffer } {
  const unstuffer = new Unstuffer();
  const payload: Buffer[] = [];
  for (const [index, chunk] of chunks.entries()) {
    const got = unstuffer.push(chunk);
    payload.push(...got.payload);
    if (got.handshake) {
      return { payload: Buffer.concat(payload), handshake: Buffer.concat([got.handshake, ...chunks.slice(index + 1)]) };
    }
  }
  return { payload: Buffer.concat(payload) };
}

describe("stuffing", () => {
  const sizes = fc.array(fc.nat(40));
  const payloads = fc.array(part, { maxLength: 20 });

  test("gives any payload back, however it is written and read", () => {
    fc.assert(
      fc.property(payloads, sizes, sizes, (parts, written, read) => {
        const payload = Buffer.concat(parts);
        const stuffer = new Stuffer();
        const wire = Buffer.concat(chunked(payload, written).flatMap((chunk) => stuffer.push(chunk)));
        const got = unstuff(chunked(wire, read));
        expect(got.handshake).toBeUndefined();
        expect(got.payload.equals(payload)).toBe(true);
      }),
      { numRuns: 1000 },
    );
  });

  test("sees a handshake after any payload, also one that was cut short", () => {
    const frame = encodeFrame({ type: "confirm", echo: Buffer.alloc(32, 7) });
    fc.assert(
      fc.property(payloads, sizes, fc.nat(), (parts, read, cut) => {
        const payload = Buffer.concat(parts);
        const wire = Buffer.concat(new Stuffer().push(payload));
        const arrived = wire.subarray(0, cut % (wire.length + 1));
        const got = unstuff(chunked(Buffer.concat([arrived, frame]), read));
        // A cut just behind a magic of the payload makes that magic the handshake's beginning.
        expect(got.handshake?.subarray(-frame.length).equals(frame)).toBe(true);
        let right = 0;
        while (right < got.payload.length && got.payload[right] === payload[right]) right++;
        expect(got.payload.length - right).toBeLessThan(MAGIC.length);
      }),
      { numRuns: 1000 },
    );
  });

  test("copies nothing and adds nothing without a magic", () => {
    const payload = Buffer.alloc(64 * 1024, 1);
    const [only, ...more] = new Stuffer().push(payload);
    expect(only).toBe(payload);
    expect(more).toEqual([]);
    expect(new Unstuffer().push(payload).payload[0]).toBe(payload);
  });
});
