import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { MessageDecoder, MessageError, messagePrefix } from "./message-framing.js";

describe("MessageDecoder", () => {
  test("gives the messages back, however they are cut", () => {
    fc.assert(
      fc.property(
        fc.array(fc.uint8Array({ maxLength: 50 })),
        fc.array(fc.nat(60)),
        fc.nat(60),
        (messages, sizes, extra) => {
          const sent = messages.map((message) => Buffer.from(message));
          const bytes = Buffer.concat(sent.flatMap((message) => [messagePrefix(message.length), message]));
          const missing = extra % (bytes.length + 1);
          const arrived = bytes.subarray(0, bytes.length - missing);
          const decoder = new MessageDecoder(50);
          const got: Buffer[] = [];
          let at = 0;
          for (const size of [...sizes, bytes.length]) {
            decoder.push(arrived.subarray(at, at + size));
            at += size;
            for (let message = decoder.next(); message; message = decoder.next()) got.push(message);
          }
          expect(got).toEqual(sent.slice(0, got.length));
          if (missing === 0) expect(got.length).toBe(sent.length);
          const used = got.reduce((sum, message) => sum + message.length + 5, 0);
          expect(decoder.truncated).toBe(used < arrived.length);
        },
      ),
    );
  });

  test("refuses a length over the limit as soon as it is read, and takes one at the limit", () => {
    const decoder = new MessageDecoder(1000);
    decoder.push(messagePrefix(1001));
    expect(() => decoder.next()).toThrow(MessageError);
    const exact = new MessageDecoder(1000);
    exact.push(messagePrefix(1000));
    expect(exact.next()).toBeUndefined();
    exact.push(Buffer.alloc(1000));
    expect(exact.next()?.length).toBe(1000);
  });

  test("refuses a compressed message", () => {
    const decoder = new MessageDecoder(1000);
    decoder.push(Buffer.of(1, 0, 0, 0, 0));
    expect(() => decoder.next()).toThrow("compressed");
  });
});
