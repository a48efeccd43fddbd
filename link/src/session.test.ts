import * as net from "node:net";
import { join } from "node:path";
import * as grpc from "@grpc/grpc-js";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { MAGIC } from "./magic.js";
import { ReconnectingLink } from "./reconnecting-link.js";
import { serveLinks } from "./serve.js";
import { openSession, probeAgent } from "./session.js";
import { echoClient, echoServer } from "./testing/echo-service.js";
import { type Faults, FaultyDuplex } from "./testing/faulty-duplex.js";
import { type Agent, failure, hello, IDENTITY, LinkBench, LONG, until } from "./testing/link-bench.js";
import { listenUnix } from "./transports/unix.js";

const { status } = grpc;

let bench: LinkBench;
beforeEach(() => {
  bench = new LinkBench();
});
afterEach(() => bench.close());

describe.each([
  ["unix", () => bench.unixAgent()],
  ["serial", () => bench.serialAgent()],
] as const)("a session on %s:", (_kind, agentOf) => {
  let agent: Agent;
  beforeEach(async () => {
    agent = await agentOf();
  });

  test("serves calls, and says who the agent is", async () => {
    const session = await bench.open(agent.uri);
    expect(session.hello).toEqual({ version: 1, ...IDENTITY });
    const echo = echoClient(session.client);
    expect((await echo.unary("hello")).toString()).toBe("hello");
    expect((await echo.unary(Buffer.alloc(3 << 20))).length).toBe(3 << 20);
    expect(agent.events[0]).toMatchObject({ kind: "session-opened", version: 1, zoneId: "" });
  });

  test("payload that looks like a handshake is payload", async () => {
    const echo = echoClient((await bench.open(agent.uri)).client);
    const tricky = Buffer.concat([hello({ min: 1, max: 1 }), MAGIC, Buffer.of(0), MAGIC, MAGIC.subarray(0, 9)]);
    expect((await echo.unary(tricky)).equals(tricky)).toBe(true);
  });

  test("another can be opened as soon as one is closed, many times; probes in between", async () => {
    for (let round = 0; round < 20; round++) {
      const session = await bench.open(agent.uri);
      expect((await echoClient(session.client).unary("x")).toString()).toBe("x");
      await session.close();
      expect(await session.closed).toBeUndefined();
      expect(await probeAgent(agent.uri, { zoneId: "", timeoutMs: LONG })).toMatchObject(IDENTITY);
      await probeAgent(agent.uri, { zoneId: "web-1", timeoutMs: LONG });
    }
  });

  test("closing cuts the calls that run, and the agent sees them cancelled", async () => {
    const session = await bench.open(agent.uri);
    const echo = echoClient(session.client);
    const hanging = failure(echo.unary("hang"));
    await echo.unary("x");
    await session.close();
    expect(await hanging).toMatchObject({ code: status.UNAVAILABLE, details: "the link was closed" });
    await until(() => agent.seen.cancelled === 1);
    expect((await echoClient((await bench.open(agent.uri)).client).unary("y")).toString()).toBe("y");
  });

  test("closing with grace lets the calls that run finish", async () => {
    const session = await bench.open(agent.uri);
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
    const path = join(bench.folder, "proxy");
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
    bench.cleanups.push(() => proxy.close());
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
    const path = join(bench.folder, "proxy");
    let fragment = 1;
    const proxy = await listenUnix(path, (client) => {
      const faults = { fragment, delayed: true };
      const upstream = new FaultyDuplex(net.connect(target), { read: faults, write: faults });
      client.on("error", () => {});
      client.on("close", () => upstream.destroy());
      client.pipe(upstream).pipe(client);
    });
    bench.cleanups.push(() => proxy.close());
    for (fragment of [1, 2, 3, 5, 15, 16, 17, 22, 23, 24, 100, 111, 112, 500]) {
      const session = await openSession(agent.uri.replace(target, path), { zoneId: "web-1", timeoutMs: LONG });
      expect(
        (await echoClient(session.client).unary(Buffer.alloc(1000, fragment))).equals(Buffer.alloc(1000, fragment)),
      ).toBe(true);
      await session.close();
    }
  });

  test("the agent gives a bridge up that does not answer its keepalive", async () => {
    const silent = await bench.rawSession(agent.uri);
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
    const socket = await bench.raw(agent.uri);
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
    bench.cleanups.push(() => link.close().catch(() => {}));
    const states: string[] = [];
    link.onState = ({ kind }) => states.push(kind);
    expect((await echoClient(await link.ready()).unary("one")).toString()).toBe("one");
    const hanging = failure(echoClient(await link.ready()).unary("hang"));
    await agent.served.close();
    const successor = agent.port ? bench.serveOn(agent.port, "web-1") : await bench.unixAgent();
    expect(await hanging).toMatchObject({ code: status.UNAVAILABLE });
    expect((await echoClient(await link.ready()).unary("two")).toString()).toBe("two");
    expect(successor.events[0]?.kind).toBe("session-opened");
    expect(states.slice(0, 3)).toEqual(["ready", "waiting", "connecting"]);
    await link.close();
    expect(link.state.kind).toBe("closed");
    await expect(link.ready()).rejects.toMatchObject({ reason: "LINK_CLOSED" });
  });

  test("a bridge that dies frees the agent for the next", async () => {
    const dead = await bench.raw(agent.uri);
    dead.write(hello({ min: 1, max: 1 }).subarray(0, 40)); // half a hello
    dead.destroy();
    expect((await echoClient((await bench.open(agent.uri)).client).unary("x")).toString()).toBe("x");
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

test("a stale socket file is replaced; one in use is not", async () => {
  const agent = await bench.unixAgent();
  const { server } = echoServer();
  const second = serveLinks(server, [{ kind: "unix", path: agent.uri.slice(5) }], () => IDENTITY);
  await expect(second.ready).rejects.toMatchObject({ code: "EADDRINUSE" });
  await second.close();
});
