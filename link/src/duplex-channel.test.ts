import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import * as http2 from "node:http2";
import * as net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import * as grpc from "@grpc/grpc-js";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { clientOn, DuplexChannel } from "./duplex-channel.js";
import { WINDOW_BYTES } from "./http2-session.js";
import { memoryDuplexPair } from "./memory-pair.js";
import { sessionServer } from "./server-sessions.js";
import { echoClient, echoServer } from "./testing/echo-service.js";
import { type Faults, FaultyDuplex } from "./testing/faulty-duplex.js";

const { status } = grpc;

async function socketPair(): Promise<[Duplex, Duplex]> {
  const folder = mkdtempSync(join(tmpdir(), "zone-link-"));
  const path = join(folder, "s");
  const accepted = new Promise<net.Socket>((resolve) => {
    const server = net.createServer({ allowHalfOpen: true }, (socket) => {
      server.close();
      resolve(socket);
    });
    server.listen(path);
  });
  const socket = net.connect({ path, allowHalfOpen: true });
  const pair: [Duplex, Duplex] = [socket, await accepted];
  rmSync(folder, { recursive: true });
  return pair;
}

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

function open(near: Duplex, far: Duplex, serverOptions: grpc.ServerOptions = {}) {
  const { server, seen } = echoServer(serverOptions);
  const session = sessionServer(server).serve(far);
  const channel = new DuplexChannel(near, { maxReceiveBytes: 8 << 20 });
  const client = clientOn(channel);
  return { server, seen, session, channel, client, echo: echoClient(client), far, near };
}

const failure = (promise: Promise<unknown>): Promise<grpc.ServiceError> =>
  promise.then(
    () => Promise.reject(new Error("it did not fail")),
    (error: grpc.ServiceError) => error,
  );

/** All messages and the end of a response. */
async function collect(
  call: grpc.ClientReadableStream<Buffer>,
): Promise<{ messages: Buffer[]; end: grpc.StatusObject }> {
  const messages: Buffer[] = [];
  call.on("error", () => {});
  const end = new Promise<grpc.StatusObject>((resolve) => call.once("status", resolve));
  call.on("data", (message: Buffer) => messages.push(message));
  return { end: await end, messages };
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}

describe.each(streams)("gRPC over %s", (_name, pair) => {
  let link: ReturnType<typeof open>;
  beforeEach(async () => {
    link = open(...(await pair()));
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

describe("gRPC over a Unix socket, bulk", () => {
  let link: ReturnType<typeof open>;
  beforeEach(async () => {
    link = open(...(await socketPair()));
  });
  afterEach(() => {
    link.channel.destroy(new Error("test over"));
    link.server.forceShutdown();
  });

  test("big messages come whole; one over the limit is RESOURCE_EXHAUSTED", async () => {
    const big = Buffer.alloc(5 << 20, 7);
    expect((await link.echo.unary(big)).equals(big)).toBe(true);
    const error = await failure(link.echo.unary(Buffer.alloc(9 << 20)));
    expect(error.code).toBe(status.RESOURCE_EXHAUSTED);
    expect((await link.echo.unary("x")).length).toBe(1);
  });

  test("a reader that does not read stops the server; other calls go on; then all arrives", async () => {
    const size = 64 * 1024;
    const call = link.echo.down(`200 ${size}`);
    let last = -1;
    // The server stands still when it has written nothing more while many other calls went through.
    while (link.seen.written !== last) {
      last = link.seen.written;
      for (let n = 0; n < 50; n++) await link.echo.unary("beside");
    }
    expect(last * size).toBeLessThan(4 * WINDOW_BYTES);
    expect(last).toBeLessThan(200);
    const { messages, end } = await collect(call);
    expect(messages.length).toBe(200);
    expect(end.code).toBe(status.OK);
  });

  test("a server that does not read stops the writer: a write is done when it is on its way", async () => {
    const call = link.echo.bidi();
    call.on("error", () => {});
    let accepted = 0;
    let last = -1;
    const write = () => {
      if (accepted < 500) {
        call.write(Buffer.alloc(64 * 1024), () => {
          accepted++;
          write();
        });
      }
    };
    write(); // nobody reads the answers, so the server stops to read
    while (accepted !== last) {
      last = accepted;
      for (let n = 0; n < 50; n++) await link.echo.unary("beside");
    }
    expect(accepted).toBeLessThan(200);
    call.cancel();
  });

  test("a slow reader gets all messages before the status, also of a server that has long ended", async () => {
    const call = link.echo.down("10 1000");
    await until(() => link.seen.written === 10);
    for (let n = 0; n < 20; n++) await link.echo.unary("beside");
    expect(await collect(call)).toMatchObject({ messages: { length: 10 }, end: { code: status.OK } });
  });

  test("many one after another: no resets that the server counts", async () => {
    for (let n = 0; n < 3000; n++) await link.echo.unary("x");
    expect(link.channel.isOpen).toBe(true);
  }, 120_000);

  test("many at once", async () => {
    const answers = await Promise.all([...Array(500).keys()].map((n) => link.echo.unary(`call ${n}`)));
    expect(answers.map(String)).toEqual([...Array(500).keys()].map((n) => `call ${n}`));
  });

  test("a call made for another ends with it", async () => {
    const parent = Object.assign(link.echo.bidi(), { getDeadline: () => Date.now() + 60_000, cancelled: false });
    parent.on("error", () => {});
    const child = failure(link.echo.unary("hang", { parent: parent as never }));
    parent.emit("cancelled");
    expect((await child).code).toBe(status.CANCELLED);
    parent.cancel();
  });

  test("waitForReady", async () => {
    await new Promise<void>((resolve, reject) =>
      link.client.waitForReady(Date.now() + 60_000, (error) => (error ? reject(error) : resolve())),
    );
    expect(link.channel.getConnectivityState()).toBe(grpc.connectivityState.READY);
  });

  test("both sides have windows of 1 MiB", async () => {
    await link.echo.unary("x");
    await until(() => link.channel.http2.remoteSettings.initialWindowSize === WINDOW_BYTES);
    await until(() => link.session.remoteSettings.initialWindowSize === WINDOW_BYTES);
    await until(() => (link.channel.http2.state.remoteWindowSize ?? 0) > WINDOW_BYTES / 2);
    await until(() => (link.session.state.remoteWindowSize ?? 0) > WINDOW_BYTES / 2);
  });
});

describe("a server that is no gRPC server", () => {
  async function answer(respond: (stream: http2.ServerHttp2Stream) => void): Promise<grpc.ServiceError> {
    const [near, far] = memoryDuplexPair();
    const server = http2.createServer();
    server.on("stream", (stream) => {
      stream.on("error", () => {});
      respond(stream);
    });
    server.emit("connection", far);
    const channel = new DuplexChannel(near);
    try {
      return await failure(echoClient(clientOn(channel)).unary("x"));
    } finally {
      channel.destroy(new Error("test over"));
    }
  }

  function respondWith(stream: http2.ServerHttp2Stream, headers: http2.OutgoingHttpHeaders = {}) {
    stream.respond(headers);
    return stream;
  }

  const cases: [string, (stream: http2.ServerHttp2Stream) => void, grpc.status][] = [
    ["HTTP 404", (stream) => stream.respond({ ":status": 404 }, { endStream: true }), status.UNIMPLEMENTED],
    [
      "HTTP 503 with a page",
      (stream) => respondWith(stream, { ":status": 503 }).end("<html>down</html>"),
      status.UNAVAILABLE,
    ],
    ["no status", (stream) => respondWith(stream).end(), status.INTERNAL],
    [
      "trailers-only",
      (stream) => stream.respond({ "grpc-status": "7", "grpc-message": "no%20way" }, { endStream: true }),
      status.PERMISSION_DENIED,
    ],
    ["a status that is none", (stream) => stream.respond({ "grpc-status": "99" }, { endStream: true }), status.UNKNOWN],
    ["a reset: refused", (stream) => stream.close(http2.constants.NGHTTP2_REFUSED_STREAM), status.UNAVAILABLE],
    ["a reset: cancelled", (stream) => stream.close(http2.constants.NGHTTP2_CANCEL), status.CANCELLED],
    [
      "a reset: calm down",
      (stream) => stream.close(http2.constants.NGHTTP2_ENHANCE_YOUR_CALM),
      status.RESOURCE_EXHAUSTED,
    ],
    ["a reset: internal", (stream) => stream.close(http2.constants.NGHTTP2_INTERNAL_ERROR), status.INTERNAL],
    ["a compressed message", (stream) => respondWith(stream).write(Buffer.of(1, 0, 0, 0, 1, 0)), status.INTERNAL],
    [
      "a message that claims 4 GiB",
      (stream) => respondWith(stream).write(Buffer.of(0, 255, 255, 255, 255)),
      status.RESOURCE_EXHAUSTED,
    ],
    [
      "half a message and OK",
      (stream) => {
        stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
        stream.respond({ ":status": 200 }, { waitForTrailers: true });
        stream.end(Buffer.of(0, 0, 0, 0, 9, 1));
      },
      status.INTERNAL,
    ],
  ];
  test.each(cases)("%s", async (_name, respond, code) => {
    expect((await answer(respond)).code).toBe(code);
  });
});

describe("a stream that breaks", () => {
  test("at any byte: UNAVAILABLE, never anything else", async () => {
    // The bytes of a whole session, to know where it can be cut.
    const total = await cutSession(Infinity);
    expect(total.outcomes).toEqual([status.OK, status.OK]);
    for (let at = 0; at < total.read; at += 1) {
      const { outcomes } = await cutSession(at);
      for (const outcome of outcomes) expect([status.OK, status.UNAVAILABLE]).toContain(outcome);
      expect(outcomes).toContain(status.UNAVAILABLE);
    }
  }, 120_000);

  async function cutSession(cutAfter: number): Promise<{ outcomes: grpc.status[]; read: number }> {
    const [near, far] = memoryDuplexPair();
    const faulty = new FaultyDuplex(near, { read: { cutAfter } });
    const link = open(faulty, far);
    const codeOf = (error: grpc.ServiceError) => error.code;
    const unary = link.echo.unary("hello").then(() => status.OK, codeOf);
    const down = collect(link.echo.down("2 10")).then(({ end }) => end.code);
    const outcomes = await Promise.all([unary, down]);
    const { read } = faulty.passed;
    link.channel.destroy(new Error("test over"));
    link.server.forceShutdown();
    return { outcomes, read };
  }

  test("by silence: a deadline still ends a call", async () => {
    const [near, far] = memoryDuplexPair();
    const link = open(new FaultyDuplex(near, { read: { stallAfter: 20 } }), far);
    const error = await failure(link.echo.unary("x", { deadline: Date.now() + 50 }));
    expect(error.code).toBe(status.DEADLINE_EXCEEDED);
    link.channel.destroy(new Error("test over"));
    link.server.forceShutdown();
  });
});
