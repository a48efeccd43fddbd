import { Writable } from "node:stream";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { OutputSink } from "./output.js";

function collector(): { stream: Writable; bytes: () => string } {
  const chunks: Buffer[] = [];
  const stream = new Writable({
    write(chunk, _encoding, done) {
      chunks.push(chunk);
      setImmediate(done);
    },
  });
  return { stream, bytes: () => Buffer.concat(chunks).toString("latin1") };
}

describe("OutputSink", () => {
  it("writes each byte once, whatever is sent again", async () => {
    const text = "the quick brown fox jumps over the lazy dog";
    const pieces = fc.array(fc.record({ back: fc.nat(10), length: fc.integer({ min: 1, max: 12 }) }), {
      minLength: 1,
      maxLength: 30,
    });
    await fc.assert(
      fc.asyncProperty(pieces, async (sends) => {
        const { stream, bytes } = collector();
        const sink = new OutputSink(stream, { written: () => {}, broken: () => {} });
        let known = 0;
        for (const { back, length } of sends) {
          const offset = Math.max(0, known - back);
          const data = Buffer.from(text.slice(offset, offset + length));
          expect(sink.take(offset, data)).toEqual({ gap: 0 });
          known = Math.max(known, offset + data.length);
        }
        await sink.drained();
        expect(bytes()).toBe(text.slice(0, known));
      }),
    );
  });

  it("tells what is missing", async () => {
    const { stream, bytes } = collector();
    const sink = new OutputSink(stream, { written: () => {}, broken: () => {} });
    sink.take(0, Buffer.from("ab"));
    expect(sink.skip(5)).toBe(3);
    expect(sink.skip(4)).toBe(0);
    expect(sink.take(7, Buffer.from("hi"))).toEqual({ gap: 2 });
    await sink.drained();
    expect(bytes()).toBe("abhi");
    expect(sink.received).toBe(9);
  });

  it("acknowledges what is written, and only that", async () => {
    const { stream } = collector();
    const offsets: number[] = [];
    const sink = new OutputSink(stream, { written: (offset) => offsets.push(offset), broken: () => {} });
    sink.take(0, Buffer.from("abc"));
    sink.take(3, Buffer.from("de"));
    expect(offsets).toEqual([]);
    await sink.drained();
    expect(offsets).toEqual([3, 5]);
  });

  it("says once that its reader is gone, and drains", async () => {
    const stream = new Writable({
      write: (_chunk, _encoding, done) => done(Object.assign(new Error("EPIPE"), { code: "EPIPE" })),
    });
    stream.on("error", () => {});
    const broken: string[] = [];
    const sink = new OutputSink(stream, { written: () => {}, broken: (error) => broken.push(error.message) });
    sink.take(0, Buffer.from("a"));
    sink.take(1, Buffer.from("b"));
    await sink.drained();
    sink.take(2, Buffer.from("c"));
    expect(broken).toEqual(["EPIPE"]);
    expect(sink.pending).toBe(0);
  });
});
