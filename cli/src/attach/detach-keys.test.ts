import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { DetachScanner, parseDetachKeys } from "./detach-keys.js";

describe("parseDetachKeys", () => {
  it.each([
    ["", [0x10, 0x11]],
    ["ctrl-p,ctrl-q", [0x10, 0x11]],
    ["a", [0x61]],
    ["ctrl-a,d", [0x01, 0x64]],
    ["ctrl-@", [0]],
    ["ctrl-[", [0x1b]],
    ["ctrl-\\,ctrl-],ctrl-^,ctrl-_", [0x1c, 0x1d, 0x1e, 0x1f]],
  ])("%j", (text, keys) => expect([...parseDetachKeys(text)]).toEqual(keys));

  it.each(["ctrl-", "ctrl-1", "ab", "a,,b", "é", "ctrl-p,"])("refuses %j", (text) => {
    expect(() => parseDetachKeys(text)).toThrow(/invalid detach key/);
  });
});

/** What the scanner must do, said over the whole input: stop at the first occurrence of the keys. */
function model(keys: number[], input: number[]): { sent: number[]; detached: boolean } {
  for (let end = keys.length; end <= input.length; end++) {
    if (keys.every((key, i) => input[end - keys.length + i] === key))
      return { sent: input.slice(0, end - keys.length), detached: true };
  }
  return { sent: input, detached: false };
}

function scan(keys: number[], chunks: number[][]): { sent: number[]; detached: boolean } {
  const scanner = new DetachScanner(Uint8Array.from(keys));
  const sent: number[] = [];
  for (const chunk of chunks) {
    const { send, detached } = scanner.scan(Uint8Array.from(chunk));
    sent.push(...send);
    if (detached) return { sent, detached };
  }
  sent.push(...scanner.end());
  return { sent, detached: false };
}

describe("DetachScanner", () => {
  it("agrees with the model for any keys, input and chunking", () => {
    // Few different bytes, so that the keys and their beginnings come up often.
    const byte = fc.integer({ min: 0, max: 2 });
    fc.assert(
      fc.property(
        fc.array(byte, { minLength: 1, maxLength: 5 }),
        fc.array(fc.array(byte, { maxLength: 6 }), { maxLength: 8 }),
        (keys, chunks) => {
          expect(scan(keys, chunks)).toEqual(model(keys, chunks.flat()));
        },
      ),
      { numRuns: 5_000 },
    );
  });

  it("holds back no more than the keys' beginning", () => {
    const scanner = new DetachScanner(parseDetachKeys(""));
    expect(scanner.scan(Buffer.from("a\x10"))).toEqual({ send: Buffer.from("a"), detached: false });
    expect(scanner.scan(Buffer.from("\x10"))).toEqual({ send: Buffer.from("\x10"), detached: false });
    expect(scanner.scan(Buffer.from("b"))).toEqual({ send: Buffer.from("\x10b"), detached: false });
  });
});
