import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Stdin } from "./stdin.js";

/** A target that keeps what it gets and takes it when told to. */
class Target {
  text = "";
  finished = 0;
  pending: ((error?: Error) => void)[] = [];
  write(bytes: Uint8Array, taken: (error?: Error) => void): void {
    this.text += Buffer.from(bytes).toString();
    this.pending.push(taken);
  }
  finish(): void {
    this.finished++;
  }
  drop(): void {
    this.pending = [];
  }
  take(error?: Error): void {
    for (const taken of this.pending.splice(0)) taken(error);
  }
}

function setUp() {
  const target = new Target();
  const stdin = new Stdin(target);
  const acks: [number, boolean][] = [];
  stdin.onAccepted = () => acks.push([stdin.accepted, stdin.closed]);
  return { target, stdin, acks };
}
const bytes = (text: string) => Buffer.from(text);

describe("Stdin", () => {
  it("acknowledges what the target has taken", () => {
    const { target, stdin, acks } = setUp();
    stdin.write(0, bytes("abc"));
    expect(acks).toEqual([]);
    expect(stdin.queued).toBe(3);
    target.take();
    expect(acks).toEqual([[3, false]]);
  });

  it("drops an overlap and refuses a hole", () => {
    const { target, stdin } = setUp();
    stdin.write(0, bytes("abc"));
    stdin.write(1, bytes("bcde"));
    stdin.write(0, bytes("ab"));
    expect(target.text).toBe("abcde");
    expect(() => stdin.write(6, bytes("g"))).toThrow(expect.objectContaining({ reason: "OFFSET_IN_FUTURE" }));
    expect(() => stdin.end(6)).toThrow(expect.objectContaining({ reason: "OFFSET_IN_FUTURE" }));
    expect(() => stdin.end(4)).toThrow(expect.objectContaining({ reason: "INVALID_OFFSET" }));
  });

  it("ends after the bytes before it, once", () => {
    const { target, stdin, acks } = setUp();
    stdin.write(0, bytes("abc"));
    stdin.end(3);
    expect(target.finished).toBe(0);
    target.take();
    expect(target.finished).toBe(1);
    stdin.end(3);
    expect(target.finished).toBe(1);
    expect(acks.at(-1)).toEqual([3, true]);
  });

  it("ends at once when nothing is under way", () => {
    const { target, stdin, acks } = setUp();
    stdin.end();
    expect([target.finished, acks]).toEqual([1, [[0, true]]]);
  });

  it("tells a writer that the process has closed its end, and hangs nobody", () => {
    const { target, stdin, acks } = setUp();
    stdin.write(0, bytes("abc"));
    target.take(new Error("EPIPE"));
    expect(acks).toEqual([[0, true]]);
    stdin.write(3, bytes("d"));
    stdin.end(4);
    expect(acks).toHaveLength(3);
    expect(target.text).toBe("abc");
  });

  it("delivers every byte once, whatever is sent again", () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 50, max: 127 }),
        fc.array(fc.tuple(fc.nat(), fc.nat(20), fc.boolean())),
        (data, sends) => {
          const { target, stdin } = setUp();
          for (const [from, length, take] of sends) {
            const offset = from % (stdin.received + 1);
            stdin.write(offset, data.subarray(offset, offset + length));
            if (take) target.take();
            expect(stdin.accepted).toBeLessThanOrEqual(stdin.received);
          }
          target.take();
          expect(target.text).toBe(Buffer.from(data.subarray(0, stdin.received)).toString());
          expect(stdin.queued).toBe(0);
        },
      ),
    );
  });
});
