import { once } from "node:events";
import { PassThrough } from "node:stream";
import { describe, expect, it } from "vitest";
import { StdinPump } from "./stdin-pump.js";

/** An agent that accepts what it is told to, and checks the offsets. */
class Receiver {
  bytes = Buffer.alloc(0);
  ended: number | undefined;
  private readonly arrivals = new PassThrough();

  data(offset: number, data: Uint8Array): void {
    expect(offset).toBeLessThanOrEqual(this.bytes.length);
    this.bytes = Buffer.concat([this.bytes.subarray(0, offset), data]);
    this.arrivals.emit("arrived");
  }
  eof(offset: number): void {
    this.ended = offset;
    this.arrivals.emit("arrived");
  }
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await once(this.arrivals, "arrived");
  }
}

describe("StdinPump", () => {
  it("reads nothing before it is connected", async () => {
    const source = new PassThrough();
    new StdinPump(source);
    source.end("x");
    await new Promise((resolve) => setImmediate(resolve));
    expect(source.readableLength).toBe(1);
  });

  it("keeps to the window until bytes are acknowledged", async () => {
    const source = new PassThrough({ highWaterMark: 10 });
    const receiver = new Receiver();
    const pump = new StdinPump(source, { windowBytes: 30 });
    pump.connect(receiver, 0);
    for (let i = 0; i < 10; i++) source.write(Buffer.alloc(10, i));
    source.end();
    await receiver.until(() => receiver.bytes.length >= 30);
    await new Promise((resolve) => setImmediate(resolve));
    expect(receiver.bytes.length).toBe(30);
    for (let acked = 10; receiver.ended === undefined; acked += 10) {
      pump.acknowledge(Math.min(acked, receiver.bytes.length), false);
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(receiver.bytes.length).toBe(100);
    expect(receiver.ended).toBe(100);
  });

  it("sends again from where a new link says, and its end", async () => {
    const source = new PassThrough();
    const first = new Receiver();
    const pump = new StdinPump(source);
    pump.connect(first, 0);
    source.write("hello ");
    source.end("world");
    await first.until(() => first.ended !== undefined);
    pump.acknowledge(2, false);
    pump.disconnect();
    const second = new Receiver();
    second.bytes = Buffer.from("hell");
    pump.connect(second, 4);
    expect(second.bytes.toString()).toBe("hello world");
    expect(second.ended).toBe(11);
  });

  it("begins where another client left off", async () => {
    const source = new PassThrough();
    const receiver = new Receiver();
    receiver.bytes = Buffer.from("theirs ");
    new StdinPump(source).connect(receiver, 7);
    source.end("ours");
    await receiver.until(() => receiver.ended !== undefined);
    expect(receiver.bytes.toString()).toBe("theirs ours");
    expect(receiver.ended).toBe(11);
  });

  it("stops when the process has closed its end", async () => {
    const source = new PassThrough();
    const receiver = new Receiver();
    const pump = new StdinPump(source);
    pump.connect(receiver, 0);
    source.write("x");
    await receiver.until(() => receiver.bytes.length === 1);
    pump.acknowledge(1, true);
    source.write("y");
    await new Promise((resolve) => setImmediate(resolve));
    expect(receiver.bytes.length).toBe(1);
    expect(source.isPaused()).toBe(true);
  });

  it("takes a failed read for the end, and says so", async () => {
    const source = new PassThrough();
    const receiver = new Receiver();
    const errors: string[] = [];
    const pump = new StdinPump(source, { onError: (error) => errors.push(error.message) });
    pump.connect(receiver, 0);
    source.destroy(new Error("EIO"));
    await receiver.until(() => receiver.ended === 0);
    expect(errors).toEqual(["EIO"]);
  });

  it("releases held keys when input ends", async () => {
    const source = new PassThrough();
    const receiver = new Receiver();
    const pump = new StdinPump(source, { detachKeys: Buffer.from("ab") });
    pump.connect(receiver, 0);
    source.end("xa");
    await receiver.until(() => receiver.ended !== undefined);
    expect(receiver.bytes.toString()).toBe("xa");
  });
});
