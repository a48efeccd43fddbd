import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { OutputBuffer, type OutputPolicy, type OutputReader } from "./output-buffer.js";

const bytes = (text: string) => Buffer.from(text);

/** All that a reader has now, as text; gaps as [from,to). */
function drain(reader: OutputReader, max = 1000): string {
  let text = "";
  for (let record = reader.next(max); record; record = reader.next(max)) {
    if (record.kind === "data") text += Buffer.from(record.data).toString("latin1");
    else if (record.kind === "gap") text += `[${record.from},${record.to})`;
    else text += `<eof ${record.offset}${record.heldOpen ? " held" : ""}>`;
  }
  return text;
}

describe("OutputBuffer", () => {
  it("replays to a late reader, then goes on live", () => {
    const buffer = new OutputBuffer(100, "block");
    buffer.push(bytes("early "));
    const reader = buffer.attach(0);
    let woken = 0;
    reader.onReadable = () => woken++;
    expect(drain(reader)).toBe("early ");
    buffer.push(bytes("late"));
    expect(woken).toBe(1);
    expect(drain(reader)).toBe("late");
    buffer.close(false);
    expect(drain(reader)).toBe("<eof 10>");
    expect(drain(reader)).toBe("");
  });

  it("blocks when it is full and nobody has ever read", () => {
    const buffer = new OutputBuffer(4, "block");
    expect(buffer.push(bytes("abcd"))).toBe(false);
    expect(buffer.writable).toBe(false);
    expect(drain(buffer.attach(0))).toBe("abcd");
  });

  it("takes bytes as taken when a client that never acknowledges has accepted them", () => {
    const buffer = new OutputBuffer(4, "block");
    let writable = 0;
    buffer.onWritable = () => writable++;
    const reader = buffer.attach(0);
    buffer.push(bytes("abcd"));
    drain(reader);
    expect(writable).toBe(0);
    reader.delivered(4);
    expect(writable).toBe(1);
  });

  it("keeps bytes for a client that acknowledges until it does", () => {
    const buffer = new OutputBuffer(4, "block");
    const reader = buffer.attach(0);
    reader.acknowledge(0);
    buffer.push(bytes("abcd"));
    drain(reader);
    reader.delivered(4);
    expect(buffer.writable).toBe(false);
    reader.acknowledge(2);
    expect(buffer.push(bytes("ef"))).toBe(false);
    expect([buffer.start, buffer.end]).toEqual([2, 6]);
    reader.detach();
    expect(buffer.writable).toBe(false);
    expect(drain(buffer.attach(2))).toBe("cdef");
  });

  it("waits for the slowest reader", () => {
    const buffer = new OutputBuffer(4, "block");
    const [fast, slow] = [buffer.attach(0), buffer.attach(0)];
    buffer.push(bytes("abcd"));
    drain(fast);
    fast.delivered(4);
    expect(buffer.writable).toBe(false);
    slow.detach();
    expect(buffer.writable).toBe(true);
  });

  it("drops the oldest bytes and says which", () => {
    const buffer = new OutputBuffer(4, "drop");
    const reader = buffer.attach(0);
    expect(buffer.push(bytes("abcdefgh"))).toBe(true);
    expect(drain(reader)).toBe("[0,4)efgh");
  });

  it("refuses to attach or acknowledge in the future", () => {
    const buffer = new OutputBuffer(4, "block", 10);
    expect(() => buffer.attach(11)).toThrow(RangeError);
    expect(() => buffer.attach(10).acknowledge(11)).toThrow(RangeError);
    expect(drain(buffer.attach(3))).toBe("[3,10)");
  });

  it("gives a reader that skips the end alone, and lets it hold nothing", () => {
    const buffer = new OutputBuffer(4, "block");
    const skipping = buffer.attach(0, { skip: true });
    buffer.push(bytes("abcd"));
    expect(drain(skipping)).toBe("");
    expect(buffer.writable).toBe(false);
    buffer.close(true);
    expect(drain(skipping)).toBe("<eof 4 held>");
  });

  it("grows so that what a dead process left fits", () => {
    const buffer = new OutputBuffer(4, "block");
    let writable = 0;
    buffer.onWritable = () => writable++;
    buffer.push(bytes("abcd"));
    buffer.grow(4);
    expect(writable).toBe(1);
    expect(buffer.push(bytes("ef"))).toBe(true);
  });

  it("keeps one-byte writes in few blocks", () => {
    const buffer = new OutputBuffer(1 << 20, "block");
    const before = process.memoryUsage().arrayBuffers;
    for (let i = 0; i < 1 << 20; i++) buffer.push(Uint8Array.of(i));
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(64 << 20); // the 1-byte arrays are garbage
    const reader = buffer.attach(0);
    let blocks = 0;
    while (reader.next(1 << 20)) blocks++;
    expect(blocks).toBe(128);
  });
});

/** The rules again, as simply as can be: the whole stream in one array. */
class Model {
  written: number[] = [];
  start = 0;
  everTaken = 0;
  readers: { id: number; position: number; taken: number; acks: boolean; got: [number, number][] }[] = [];

  constructor(
    readonly capacity: number,
    readonly policy: OutputPolicy,
  ) {}

  evictable(): number {
    if (this.readers.length === 0) return this.everTaken;
    return Math.min(this.written.length, ...this.readers.map((reader) => reader.taken));
  }

  writable(): boolean {
    return this.policy === "drop" || this.written.length - Math.max(this.start, this.evictable()) < this.capacity;
  }

  push(chunk: Uint8Array): void {
    this.written.push(...chunk);
    const wanted = this.written.length - this.capacity;
    this.start = Math.max(this.start, this.policy === "drop" ? wanted : Math.min(wanted, this.evictable()));
  }
}

const command = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("push" as const), data: fc.uint8Array({ maxLength: 40 }) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("attach" as const), back: fc.nat(60) }) },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant("read" as const),
      reader: fc.nat(3),
      max: fc.integer({ min: 1, max: 30 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("deliver" as const), reader: fc.nat(3) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("ack" as const), reader: fc.nat(3), back: fc.nat(20) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("detach" as const), reader: fc.nat(3) }) },
);

describe("OutputBuffer against its model", () => {
  it("keeps, evicts, blocks and delivers alike", () => {
    const property = fc.property(
      fc.constantFrom<OutputPolicy>("block", "drop"),
      fc.integer({ min: 1, max: 64 }),
      fc.array(command, { maxLength: 60 }),
      (policy, capacity, commands) => {
        const buffer = new OutputBuffer(capacity, policy);
        const model = new Model(capacity, policy);
        const readers: OutputReader[] = [];
        let promised = true; // what push and onWritable have told the producer
        buffer.onWritable = () => {
          promised = true;
        };
        for (const step of commands) {
          const index = "reader" in step && readers.length > 0 ? step.reader % readers.length : -1;
          const reader = readers[index];
          const twin = model.readers[index];
          if (step.kind === "push") {
            if (!buffer.writable) continue; // a producer that obeys
            model.push(step.data);
            promised = buffer.push(step.data);
          } else if (step.kind === "attach") {
            const from = Math.max(0, model.written.length - step.back);
            readers.push(buffer.attach(from));
            model.readers.push({ id: readers.length, position: from, taken: from, acks: false, got: [] });
          } else if (!reader || !twin) {
            continue;
          } else if (step.kind === "read") {
            const record = reader.next(step.max);
            if (twin.position < model.start) {
              expect(record).toEqual({ kind: "gap", from: twin.position, to: model.start });
              twin.position = model.start;
            } else if (twin.position < model.written.length) {
              if (record?.kind !== "data") throw new Error("data expected");
              expect(record.offset).toBe(twin.position);
              expect(record.data.length).toBeGreaterThan(0);
              expect(record.data.length).toBeLessThanOrEqual(step.max);
              expect([...record.data]).toEqual(model.written.slice(twin.position, twin.position + record.data.length));
              twin.position += record.data.length;
            } else {
              expect(record).toBeUndefined();
            }
          } else if (step.kind === "deliver" || step.kind === "ack") {
            const offset = step.kind === "ack" ? Math.max(0, twin.position - step.back) : twin.position;
            if (step.kind === "ack") reader.acknowledge(offset);
            else reader.delivered(offset);
            twin.acks ||= step.kind === "ack";
            if ((step.kind === "ack" || !twin.acks) && offset > twin.taken) {
              twin.taken = offset;
              model.everTaken = Math.max(model.everTaken, offset);
            }
          } else {
            reader.detach();
            readers.splice(index, 1);
            model.readers.splice(index, 1);
          }
          expect([buffer.start, buffer.end]).toEqual([model.start, model.written.length]);
          expect(buffer.writable).toBe(model.writable());
          if (buffer.writable) expect(promised).toBe(true);
          if (policy === "block") expect(buffer.end - buffer.start).toBeLessThan(capacity + 40);
          else expect(buffer.end - buffer.start).toBeLessThanOrEqual(capacity);
        }
      },
    );
    fc.assert(property, { numRuns: 2000 });
  });
});
