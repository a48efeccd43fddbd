import * as http2 from "node:http2";
import * as grpc from "@grpc/grpc-js";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { clientOn, DuplexChannel } from "./duplex-channel.js";
import { WINDOW_BYTES } from "./http2-session.js";
import { memoryDuplexPair } from "./memory-pair.js";
import { collect, failure, openChannel, socketPair } from "./testing/channel-bench.js";
import { echoClient } from "./testing/echo-service.js";
import { FaultyDuplex } from "./testing/faulty-duplex.js";
import { until } from "./testing/link-bench.js";

const { status } = grpc;

describe("gRPC over a Unix socket, bulk", () => {
  let link: ReturnType<typeof openChannel>;
  beforeEach(async () => {
    link = openChannel(...(await socketPair()));
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
    const link = openChannel(faulty, far);
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
    const link = openChannel(new FaultyDuplex(near, { read: { stallAfter: 20 } }), far);
    const error = await failure(link.echo.unary("x", { deadline: Date.now() + 50 }));
    expect(error.code).toBe(status.DEADLINE_EXCEEDED);
    link.channel.destroy(new Error("test over"));
    link.server.forceShutdown();
  });
});
