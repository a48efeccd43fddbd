import { mkdtempSync, rmSync } from "node:fs";
import * as net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as grpc from "@grpc/grpc-js";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { FrameScanner } from "./frame-scanner.js";
import { encodeFrame } from "./frames.js";
import { kernelNonce } from "./handshake.js";
import { MAGIC } from "./magic.js";
import { ReconnectingLink } from "./reconnecting-link.js";
import { type ServedLinks, type ServeEvent, serveLinks } from "./serve.js";
import { openSession, probeAgent, type Session } from "./session.js";
import { echoClient, echoServer } from "./testing/echo-service.js";
import { EmulatedPort } from "./testing/emulated-port.js";
import { type Faults, FaultyDuplex } from "./testing/faulty-duplex.js";
import { listenUnix } from "./transports/unix.js";

const { status } = grpc;
const LONG = 60_000;
/** The agent gives a silent bridge up after three times this: longer than this process may stand still. */
const AGENT_KEEPALIVE_MS = 1500;
const IDENTITY = { zoneId: "web-1", bootId: "boot", agentVersion: "0.1.0" };

let folder: string;
let cleanups: (() => unknown)[];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "zone-link-"));
  cleanups = [() => rmSync(folder, { recursive: true })];
});
afterEach(async () => {
  for (const cleanup of cleanups.reverse()) await cleanup();
});

interface Agent {
  readonly uri: string;
  readonly events: ServeEvent[];
  readonly served: ServedLinks;
  readonly seen: ReturnType<typeof echoServer>["seen"];
  /** One-stream links. */
  readonly port?: EmulatedPort;
}

async function unixAgent(zoneId = IDENTITY.zoneId, name = "agent"): Promise<Agent> {
  const path = join(folder, name);
  const { server, seen } = echoServer();
  const events: ServeEvent[] = [];
  const served = serveLinks(server, [{ kind: "unix", path }], () => ({ ...IDENTITY, zoneId }), {
    onEvent: (event) => events.push(event),
    keepaliveMs: AGENT_KEEPALIVE_MS,
  });
  await served.ready;
  cleanups.push(() => served.close());
  return { uri: `unix:${path}`, events, served, seen };
}

function serveOn(port: EmulatedPort, zoneId: string) {
  const { server, seen } = echoServer();
  const events: ServeEvent[] = [];
  const served = serveLinks(server, [{ kind: "serial", port: "zone.link" }], () => ({ ...IDENTITY, zoneId }), {
    onEvent: (event) => events.push(event),
    openPort: async () => port.open(),
    keepaliveMs: AGENT_KEEPALIVE_MS,
  });
  cleanups.push(() => served.close());
  return { events, served, seen };
}

async function serialAgent(zoneId = IDENTITY.zoneId): Promise<Agent & { port: EmulatedPort }> {
  const path = join(folder, "port");
  const port = await EmulatedPort.listen(path);
  cleanups.push(() => port.close());
  return { uri: `serial:${path}`, port, ...serveOn(port, zoneId) };
}

async function open(uri: string, options: { zoneId?: string; keepaliveMs?: number } = {}): Promise<Session> {
  const session = await openSession(uri, { zoneId: "", timeoutMs: LONG, ...options });
  cleanups.push(() => session.close().catch(() => {}));
  return session;
}

const failure = (promise: Promise<unknown>) =>
  promise.then(
    () => Promise.reject(new Error("it did not fail")),
    (error: unknown) => error,
  );

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}

/** A raw client of a link's socket. */
async function raw(uri: string): Promise<net.Socket> {
  const socket = net.connect(uri.slice(uri.indexOf(":") + 1));
  cleanups.push(() => socket.destroy());
  socket.on("error", () => {});
  await new Promise((resolve) => socket.once("connect", resolve));
  return socket;
}

/** A client that has shaken hands and begun HTTP/2, and now does nothing more by itself. */
async function rawSession(uri: string): Promise<net.Socket> {
  const socket = await raw(uri);
  socket.write(hello({ min: 1, max: 1 }));
  const scanner = new FrameScanner();
  const nonce = await new Promise<Buffer>((resolve) => {
    socket.on("data", (chunk) => {
      scanner.push(chunk);
      for (let frame = scanner.next(); frame; frame = scanner.next()) if (frame.type === "ack") resolve(frame.nonce);
    });
  });
  socket.removeAllListeners("data").resume();
  socket.write(encodeFrame({ type: "confirm", echo: nonce }));
  socket.write(Buffer.concat([Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), Buffer.of(0, 0, 0, 4, 0, 0, 0, 0, 0)]));
  return socket;
}

function hello(versions: { min: number; max: number }, purpose: "session" | "probe" = "session"): Buffer {
  return encodeFrame({ type: "hello", ...versions, purpose, nonce: kernelNonce(), zoneId: "" });
}

describe.each([
  ["unix", unixAgent],
  ["serial", serialAgent],
] as const)("a session on %s:", (_kind, agentOf) => {
  let agent: Agent;
  beforeEach(async () => {
    agent = await agentOf();
  });

  test("serves calls, and says who the agent is", async () => {
    const session = await open(agent.uri);
    expect(session.hello).toEqual({ version: 1, ...IDENTITY });
    const echo = echoClient(session.client);
    expect((await echo.unary("hello")).toString()).toBe("hello");
    expect((await echo.unary(Buffer.alloc(3 << 20))).length).toBe(3 << 20);
    expect(agent.events[0]).toMatchObject({ kind: "session-opened", version: 1, zoneId: "" });
  });

  test("payload that looks like a handshake is payload", async () => {
    const echo = echoClient((await open(agent.uri)).client);
    const tricky = Buffer.concat([hello({ min: 1, max: 1 }), MAGIC, Buffer.of(0), MAGIC, MAGIC.subarray(0, 9)]);
    expect((await echo.unary(tricky)).equals(tricky)).toBe(true);
  });

  test("another can be opened as soon as one is closed, many times; probes in between", async () => {
    for (let round = 0; round < 20; round++) {
      const session = await open(agent.uri);
      expect((await echoClient(session.client).unary("x")).toString()).toBe("x");
      await session.close();
      expect(await session.closed).toBeUndefined();
      expect(await probeAgent(agent.uri, { zoneId: "", timeoutMs: LONG })).toMatchObject(IDENTITY);
      await probeAgent(agent.uri, { zoneId: "web-1", timeoutMs: LONG });
    }
  });

  test("closing cuts the calls that run, and the agent sees them cancelled", async () => {
    const session = await open(agent.uri);
    const echo = echoClient(session.client);
    const hanging = failure(echo.unary("hang"));
    await echo.unary("x");
    await session.close();
    expect(await hanging).toMatchObject({ code: status.UNAVAILABLE, details: "the link was closed" });
    await until(() => agent.seen.cancelled === 1);
    expect((await echoClient((await open(agent.uri)).client).unary("y")).toString()).toBe("y");
  });

  test("closing with grace lets the calls that run finish", async () => {
    const session = await open(agent.uri);
    const call = echoClient(session.client).bidi();
    const end = new Promise<grpc.StatusObject>((resolve) => call.once("status", resolve));
    call.on("data", () => {});
    call.write(Buffer.from("a"));
    await until(() => agent.seen.received === 1);
    const closing = session.close(LONG);
    call.end();
    expect((await end).code).toBe(status.OK);
    await closing;
  });

  test("survives a cut at any byte: UNAVAILABLE, and the next session works", async () => {
    const target = agent.uri.slice(agent.uri.indexOf(":") + 1);
    const path = join(folder, "proxy");
    let faults: { read?: Faults; write?: Faults } = {};
    let passed = { read: 0, written: 0 };
    const proxy = await listenUnix(path, (client) => {
      const upstream = new FaultyDuplex(net.connect(target), faults);
      client.on("error", () => upstream.destroy());
      client.on("close", () => upstream.destroy());
      upstream.on("error", () => client.destroy());
      upstream.on("close", () => {
        passed = upstream.passed;
        client.destroy();
      });
      client.pipe(upstream).pipe(client);
    });
    cleanups.push(() => proxy.close());
    const uri = agent.uri.replace(target, path);

    async function outcome(): Promise<unknown> {
      const session = await openSession(uri, { zoneId: "web-1", timeoutMs: LONG });
      try {
        await echoClient(session.client).unary("hello");
        return "OK";
      } finally {
        await session.close().catch(() => {}); // through the cut: it may not see the agent wait
      }
    }
    const codeOf = (error: { code: unknown }) => (error.code === status.UNAVAILABLE ? "UNAVAILABLE" : error.code);
    expect(await outcome()).toBe("OK");
    await until(() => passed.read > 0);
    const whole = passed;
    for (const [direction, bytes] of [
      ["read", whole.read],
      ["write", whole.written],
    ] as const) {
      for (let cutAfter = 0; cutAfter < bytes; cutAfter += 5) {
        faults = { [direction]: { cutAfter } };
        expect(["OK", "UNAVAILABLE"]).toContain(await outcome().catch(codeOf));
        faults = {};
        expect(await outcome().catch(codeOf)).toBe("OK");
      }
    }
  }, 300_000);

  test("works over fragments of every size", async () => {
    const target = agent.uri.slice(agent.uri.indexOf(":") + 1);
    const path = join(folder, "proxy");
    let fragment = 1;
    const proxy = await listenUnix(path, (client) => {
      const faults = { fragment, delayed: true };
      const upstream = new FaultyDuplex(net.connect(target), { read: faults, write: faults });
      client.on("error", () => {});
      client.on("close", () => upstream.destroy());
      client.pipe(upstream).pipe(client);
    });
    cleanups.push(() => proxy.close());
    for (fragment of [1, 2, 3, 5, 15, 16, 17, 22, 23, 24, 100, 111, 112, 500]) {
      const session = await openSession(agent.uri.replace(target, path), { zoneId: "web-1", timeoutMs: LONG });
      expect(
        (await echoClient(session.client).unary(Buffer.alloc(1000, fragment))).equals(Buffer.alloc(1000, fragment)),
      ).toBe(true);
      await session.close();
    }
  });

  test("the agent gives a bridge up that does not answer its keepalive", async () => {
    const silent = await rawSession(agent.uri);
    await until(() => agent.events.some(({ kind }) => kind === "session-opened"));
    silent.pause();
    await until(() => agent.events.some(({ kind }) => kind === "session-closed"));
  });

  test("the agent of another zone is refused", async () => {
    const error = await failure(openSession(agent.uri, { zoneId: "db-1", timeoutMs: LONG }));
    expect(error).toMatchObject({ code: "FAILED_PRECONDITION", reason: "ZONE_MISMATCH" });
    expect(String(error)).toContain("db-1");
    expect(String(error)).toContain("web-1");
    await probeAgent(agent.uri, { zoneId: "web-1", timeoutMs: LONG }); // and the agent is none the worse
  });

  test("versions that do not meet are refused, with both", async () => {
    const socket = await raw(agent.uri);
    socket.write(hello({ min: 7, max: 9 }));
    const answer = await new Promise<Buffer>((resolve) => {
      const chunks: Buffer[] = [];
      socket.on("data", (chunk) => {
        chunks.push(chunk);
        if (Buffer.concat(chunks).includes(Buffer.concat([MAGIC, Buffer.of(3)]))) resolve(Buffer.concat(chunks));
      });
    });
    expect(answer.length).toBeGreaterThan(0);
    socket.destroy();
    await probeAgent(agent.uri, { zoneId: "", timeoutMs: LONG });
  });

  test("an agent that goes away ends the session; a link finds its successor", async () => {
    const link = new ReconnectingLink(agent.uri, { zoneId: "web-1" });
    cleanups.push(() => link.close().catch(() => {}));
    const states: string[] = [];
    link.onState = ({ kind }) => states.push(kind);
    expect((await echoClient(await link.ready()).unary("one")).toString()).toBe("one");
    const hanging = failure(echoClient(await link.ready()).unary("hang"));
    await agent.served.close();
    const successor = agent.port ? serveOn(agent.port, "web-1") : await unixAgent();
    expect(await hanging).toMatchObject({ code: status.UNAVAILABLE });
    expect((await echoClient(await link.ready()).unary("two")).toString()).toBe("two");
    expect(successor.events[0]?.kind).toBe("session-opened");
    expect(states.slice(0, 3)).toEqual(["ready", "waiting", "connecting"]);
    await link.close();
    expect(link.state.kind).toBe("closed");
    await expect(link.ready()).rejects.toMatchObject({ reason: "LINK_CLOSED" });
  });

  test("a bridge that dies frees the agent for the next", async () => {
    const dead = await raw(agent.uri);
    dead.write(hello({ min: 1, max: 1 }).subarray(0, 40)); // half a hello
    dead.destroy();
    expect((await echoClient((await open(agent.uri)).client).unary("x")).toString()).toBe("x");
  });

  test("an aborted signal and a time limit end an attempt", async () => {
    const gone = `${agent.uri}-gone`;
    await expect(openSession(gone, { zoneId: "", timeoutMs: LONG })).rejects.toMatchObject({
      code: "UNAVAILABLE",
      reason: "TRANSPORT_UNREACHABLE",
      resource: { type: "link", name: gone },
    });
    const signal = AbortSignal.abort();
    await expect(openSession(agent.uri, { zoneId: "", timeoutMs: LONG, signal })).rejects.toMatchObject({
      code: "CANCELLED",
    });
  });
});

describe("a one-stream link", () => {
  let agent: Agent & { port: EmulatedPort };
  beforeEach(async () => {
    agent = await serialAgent();
  });

  test("a new bridge is seen at once when the old one's end was not, in the middle of its session", async () => {
    const old = await open(agent.uri, { keepaliveMs: 0 });
    const stream = echoClient(old.client).bidi();
    stream.on("error", () => {});
    stream.write(Buffer.alloc(1000));
    await until(() => agent.seen.received === 1000);
    const next = open(agent.uri); // waits behind the old client
    agent.port.loseClientUnseen();
    expect((await echoClient((await next).client).unary("x")).toString()).toBe("x");
    expect(agent.seen.received).toBe(1000);
    await until(() => agent.events.some(({ kind }) => kind === "session-closed"));
  });

  test("a frame that the old bridge did not finish does not swallow the new one's hello, nor become data", async () => {
    const dead = await rawSession(agent.uri);
    // A request's head, and a DATA frame that claims 16,000 bytes of which few come.
    const data = Buffer.concat([
      Buffer.of(0, 0x3e, 0x80, 0, 0, 0, 0, 0, 1),
      Buffer.of(0, 0, 0, 0x3e, 0x7b),
      Buffer.from("partial"),
    ]);
    dead.write(
      Buffer.concat([Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), Buffer.of(0, 0, 0, 4, 0, 0, 0, 0, 0), data]),
    );
    const next = open(agent.uri);
    await until(() => agent.events.some(({ kind }) => kind === "session-opened"));
    agent.port.loseClientUnseen();
    expect((await echoClient((await next).client).unary("x")).toString()).toBe("x");
    expect(agent.seen.received).toBe(0);
  });

  test("an agent that restarts unseen ends the session at once, not after the keepalive", async () => {
    const session = await open(agent.uri, { keepaliveMs: 0 });
    await echoClient(session.client).unary("x");
    await agent.served.close(); // the host's side stays connected
    serveOn(agent.port, "web-1");
    expect(await session.closed).toMatchObject({ code: "UNAVAILABLE", reason: "PEER_RESTARTED" });
    expect((await echoClient((await open(agent.uri)).client).unary("y")).toString()).toBe("y");
  });

  test("a keepalive ends the session of an agent that is silent", async () => {
    const session = await open(agent.uri, { keepaliveMs: 20 });
    await echoClient(session.client).unary("x");
    await agent.served.close();
    expect(await session.closed).toMatchObject({ code: "UNAVAILABLE", reason: "KEEPALIVE_TIMEOUT" });
  });

  test("a suspended keepalive does not, and goes on after resume", async () => {
    const session = await open(agent.uri, { keepaliveMs: 20 });
    session.suspend();
    await agent.served.close();
    let over = false;
    void session.closed.then(() => {
      over = true;
    });
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(over).toBe(false);
    session.resume();
    expect(await session.closed).toMatchObject({ reason: "KEEPALIVE_TIMEOUT" });
  });

  test("an agent that starts late hears the hello that is said again", async () => {
    await agent.served.close();
    const early = open(agent.uri);
    await new Promise((resolve) => setTimeout(resolve, 250));
    serveOn(agent.port, "web-1");
    expect((await echoClient((await early).client).unary("x")).toString()).toBe("x");
  });

  test("any leavings before the hello are passed over", async () => {
    const dead = await raw(agent.uri);
    dead.write(Buffer.concat([Buffer.alloc(100_000, 0x41), MAGIC, Buffer.of(1, 1, 0xff), MAGIC.subarray(0, 5)]));
    const next = open(agent.uri);
    dead.end();
    expect((await echoClient((await next).client).unary("x")).toString()).toBe("x");
  });

  test("a port that cannot be opened is told once, and tried again", async () => {
    let attempts = 0;
    const events: ServeEvent[] = [];
    const { server } = echoServer();
    const served = serveLinks(server, [{ kind: "serial", port: "p" }], () => IDENTITY, {
      onEvent: (event) => events.push(event),
      openPort: () => {
        attempts++;
        return Promise.reject(Object.assign(new Error("no such port"), { code: "ENOENT" }));
      },
    });
    await until(() => attempts === 3);
    await served.close();
    expect(events.map(({ kind }) => kind)).toEqual(["port-lost"]);
  });
});

describe("a peer that is no agent", () => {
  async function listen(onConnection: (socket: net.Socket) => void): Promise<string> {
    const path = join(folder, "other");
    const server = net.createServer((socket) => {
      socket.on("error", () => {});
      socket.resume();
      onConnection(socket);
    });
    await new Promise<void>((resolve) => server.listen(path, resolve));
    cleanups.push(() => new Promise((resolve) => server.close(resolve)));
    return path;
  }

  test.each(["unix", "serial"])("sends garbage for ever: dropped at the bound (%s)", async (scheme) => {
    let closed = false;
    const path = await listen((socket) => {
      const garbage = Buffer.alloc(64 * 1024, 0xd7);
      const more = () => {
        while (!socket.destroyed && socket.write(garbage));
      };
      socket.on("drain", more);
      socket.on("close", () => {
        closed = true;
      });
      more();
    });
    const error = await failure(openSession(`${scheme}:${path}`, { zoneId: "", timeoutMs: LONG }));
    expect(error).toMatchObject({ code: "FAILED_PRECONDITION", reason: "HANDSHAKE_GARBAGE" });
    await until(() => closed);
  });

  test("says nothing: the time limit ends it", async () => {
    const path = await listen(() => {});
    const error = await failure(openSession(`unix:${path}`, { zoneId: "", timeoutMs: 100 }));
    expect(error).toMatchObject({ code: "DEADLINE_EXCEEDED", reason: "HANDSHAKE_TIMEOUT" });
  });

  test("hangs up", async () => {
    const path = await listen((socket) => socket.end());
    const error = await failure(openSession(`unix:${path}`, { zoneId: "", timeoutMs: LONG }));
    expect(error).toMatchObject({ code: "UNAVAILABLE", reason: "LINK_LOST" });
  });

  test("speaks another version: both are in the message", async () => {
    const path = await listen((socket) => {
      socket.once("data", (bytes) => {
        const echo = Buffer.from(bytes.subarray(16 + 3 + 5, 16 + 3 + 5 + 32));
        socket.write(encodeFrame({ type: "reject", echo: kernelNonce(), min: 1, max: 1 })); // for someone else
        socket.write(encodeFrame({ type: "reject", echo, min: 4, max: 6 }));
      });
    });
    const error = await failure(openSession(`unix:${path}`, { zoneId: "", timeoutMs: LONG }));
    expect(error).toMatchObject({ code: "FAILED_PRECONDITION", reason: "VERSION_MISMATCH" });
    expect(String(error)).toMatch(/bridge speaks protocol version 1, the agent versions 4 to 6: upgrade the bridge/);
  });
});

describe("ReconnectingLink", () => {
  test("ready() has a limit, and can be cancelled; close() ends it all", async () => {
    const link = new ReconnectingLink(`unix:${join(folder, "nobody")}`, { zoneId: "" });
    await expect(link.ready(undefined, 50)).rejects.toMatchObject({ code: "UNAVAILABLE", reason: "LINK_NOT_READY" });
    const abort = new AbortController();
    const waiting = failure(link.ready(abort.signal));
    abort.abort();
    expect(await waiting).toMatchObject({ code: "CANCELLED" });
    const last = failure(link.ready());
    await link.close();
    expect(await last).toMatchObject({ code: "UNAVAILABLE", reason: "LINK_CLOSED" });
  });

  test("ready() fails at once when trying again will not help, and yet it does try", async () => {
    const agent = await unixAgent("other");
    const link = new ReconnectingLink(agent.uri, { zoneId: "web-1" });
    cleanups.push(() => link.close());
    await expect(link.ready()).rejects.toMatchObject({ reason: "ZONE_MISMATCH" });
    await agent.served.close();
    await unixAgent("web-1");
    await until(() => link.state.kind === "ready");
    expect((await echoClient(await link.ready()).unary("x")).toString()).toBe("x");
  });
});

test("a stale socket file is replaced; one in use is not", async () => {
  const agent = await unixAgent();
  const { server } = echoServer();
  const second = serveLinks(server, [{ kind: "unix", path: agent.uri.slice(5) }], () => IDENTITY);
  await expect(second.ready).rejects.toMatchObject({ code: "EADDRINUSE" });
  await second.close();
});
