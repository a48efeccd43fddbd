import { once } from "node:events";
import type { Duplex } from "node:stream";
import * as grpc from "@grpc/grpc-js";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { memoryDuplexPair } from "./memory-pair.js";
import { collect, failure, openChannel, socketPair } from "./testing/channel-bench.js";
import { type Faults, FaultyDuplex } from "./testing/faulty-duplex.js";
import { until } from "./testing/link-bench.js";

const { status } = grpc;

async function faultyPair(faults: Faults): Promise<[Duplex, Duplex]> {
  const [one, other] = memoryDuplexPair();
  return [new FaultyDuplex(one, { read: faults, write: faults }), other];
}

const streams: [string, () => Promise<[Duplex, Duplex]>][] = [
  ["a Unix socket", socketPair],
  ["a pair in memory", async () => memoryDuplexPair()],
  ["fragments of 1 byte", () => faultyPair({ fragment: 1 })],
  ["fragments of 7 bytes, each in a turn of its own", () => faultyPair({ fragment: 7, delayed: true })],
  ["fragments of 1000 bytes, each in a turn of its own", () => faultyPair({ fragment: 1000, delayed: true })],
];

describe.each(streams)("gRPC over %s", (_name, pair) => {
  let link: ReturnType<typeof openChannel>;
  beforeEach(async () => {
    link = openChannel(...(await pair()));
  });
  afterEach(() => {
    link.channel.destroy(new Error("test over"));
    link.server.forceShutdown();
  });

  test("unary: bytes and metadata both ways", async () => {
    const metadata = new grpc.Metadata();
    metadata.add("x-echo", "one");
    metadata.add("x-echo", "two");
    expect((await link.echo.unary("hello", { metadata })).toString()).toBe("hello");
    expect((await link.echo.unary("")).length).toBe(0);
  });

  test("an error has its code, text and trailers", async () => {
    const error = await failure(link.echo.unary("fail"));
    expect(error).toMatchObject({ code: status.NOT_FOUND, details: "nö such: 100%" });
    expect(error.metadata.get("x-trailer-bin")[0]).toEqual(Buffer.from([1, 2, 255]));
  });

  test("an unknown method is UNIMPLEMENTED", async () => {
    const error = await new Promise<grpc.ServiceError | null>((resolve) =>
      link.client.makeUnaryRequest(
        "/no.Such/Method",
        (b: Buffer) => b,
        (b) => b,
        Buffer.alloc(0),
        resolve,
      ),
    );
    expect(error?.code).toBe(status.UNIMPLEMENTED);
  });

  test("server stream: all messages, then the status, also of a failure", async () => {
    const { messages, end } = await collect(link.echo.down("20 3000"));
    expect(messages.map((message) => message[0])).toEqual([...Array(20).keys()]);
    expect(end.code).toBe(status.OK);
    const failed = await collect(link.echo.down("5 100 fail"));
    expect(failed.messages.length).toBe(5);
    expect(failed.end).toMatchObject({ code: status.DATA_LOSS, details: "as asked" });
  });

  test("client stream", async () => {
    const count = await new Promise<string>((resolve, reject) => {
      const call = link.echo.up((error, response) => (error ? reject(error) : resolve(String(response))));
      for (let n = 0; n < 20; n++) call.write(Buffer.alloc(2000));
      call.end();
    });
    expect(count).toBe("40000");
  });

  test("bidi: each message comes back, and the server may end first", async () => {
    const call = link.echo.bidi();
    const answers = collect(call);
    for (let n = 0; n < 20; n++) call.write(Buffer.alloc(n * 100, n));
    call.end();
    const { messages, end } = await answers;
    expect(messages.map((message) => message.length)).toEqual([...Array(20).keys()].map((n) => n * 100));
    expect(end.code).toBe(status.OK);

    const early = link.echo.bidi();
    const rest = collect(early);
    early.write(Buffer.from("a"));
    early.write(Buffer.from("end"));
    expect(await rest).toMatchObject({ end: { code: status.OK }, messages: [Buffer.from("a")] });
  });

  test("a deadline ends the call on both sides", async () => {
    const error = await failure(link.echo.unary("hang", { deadline: Date.now() + 100 }));
    expect(error.code).toBe(status.DEADLINE_EXCEEDED);
    await until(() => link.seen.cancelled === 1);
    const past = await failure(link.echo.unary("late", { deadline: Date.now() - 1 }));
    expect(past.code).toBe(status.DEADLINE_EXCEEDED);
  });

  test("cancelling ends the call on both sides", async () => {
    const call = link.echo.down("1000000 100");
    const end = collect(call);
    call.once("data", () => call.cancel());
    expect((await end).end.code).toBe(status.CANCELLED);
    await until(() => link.seen.cancelled === 1);
    expect((await link.echo.unary("still there")).toString()).toBe("still there");
  });

  test("a lost link is UNAVAILABLE for the calls that run, and for later ones", async () => {
    const unary = failure(link.echo.unary("hang"));
    const stream = link.echo.down("1000000 10");
    const ended = collect(stream);
    await until(() => link.seen.written > 0);
    const unread = link.echo.bidi();
    unread.write(Buffer.from("nobody reads the answer"));
    const told = failure(once(unread, "end"));
    await until(() => link.seen.received > 0);
    await link.echo.unary("and the answer has come");
    link.far.destroy();
    expect(await told).toMatchObject({ code: status.UNAVAILABLE });
    expect((await unary).code).toBe(status.UNAVAILABLE);
    expect((await ended).end.code).toBe(status.UNAVAILABLE);
    expect((await failure(link.echo.unary("x"))).code).toBe(status.UNAVAILABLE);
    expect(await link.channel.closed).toMatchObject({ code: "UNAVAILABLE", reason: "LINK_LOST" });
    expect(link.channel.getConnectivityState()).toBe(grpc.connectivityState.SHUTDOWN);
  });

  test("a GOAWAY lets running calls finish, and takes no more", async () => {
    const call = link.echo.bidi();
    const answers = collect(call);
    call.write(Buffer.from("a"));
    await until(() => link.seen.received === 1);
    link.session.close();
    await until(() => link.channel.getConnectivityState() !== grpc.connectivityState.READY);
    expect((await failure(link.echo.unary("x"))).code).toBe(status.UNAVAILABLE);
    call.end(Buffer.from("b"));
    expect(await answers).toMatchObject({ end: { code: status.OK }, messages: [Buffer.from("a"), Buffer.from("b")] });
  });

  test("close ends the channel without an error", async () => {
    await link.echo.unary("x");
    link.channel.close();
    expect(await link.channel.closed).toBeUndefined();
    expect(await failure(link.echo.unary("x"))).toMatchObject({
      code: status.UNAVAILABLE,
      details: "the link was closed",
    });
  });
});
