import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { MAGIC } from "./magic.js";
import { type ServeEvent, serveLinks } from "./serve.js";
import { echoClient, echoServer } from "./testing/echo-service.js";
import type { EmulatedPort } from "./testing/emulated-port.js";
import { type Agent, IDENTITY, LinkBench, until } from "./testing/link-bench.js";

let bench: LinkBench;
beforeEach(() => {
  bench = new LinkBench();
});
afterEach(() => bench.close());

describe("a one-stream link", () => {
  let agent: Agent & { port: EmulatedPort };
  beforeEach(async () => {
    agent = await bench.serialAgent();
  });

  test("a new bridge is seen at once when the old one's end was not, in the middle of its session", async () => {
    const old = await bench.open(agent.uri, { keepaliveMs: 0 });
    const stream = echoClient(old.client).bidi();
    stream.on("error", () => {});
    stream.write(Buffer.alloc(1000));
    await until(() => agent.seen.received === 1000);
    const next = bench.open(agent.uri); // waits behind the old client
    agent.port.loseClientUnseen();
    expect((await echoClient((await next).client).unary("x")).toString()).toBe("x");
    expect(agent.seen.received).toBe(1000);
    await until(() => agent.events.some(({ kind }) => kind === "session-closed"));
  });

  test("a frame that the old bridge did not finish does not swallow the new one's hello, nor become data", async () => {
    const dead = await bench.rawSession(agent.uri);
    // A request's head, and a DATA frame that claims 16,000 bytes of which few come.
    const data = Buffer.concat([
      Buffer.of(0, 0x3e, 0x80, 0, 0, 0, 0, 0, 1),
      Buffer.of(0, 0, 0, 0x3e, 0x7b),
      Buffer.from("partial"),
    ]);
    dead.write(
      Buffer.concat([Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), Buffer.of(0, 0, 0, 4, 0, 0, 0, 0, 0), data]),
    );
    const next = bench.open(agent.uri);
    await until(() => agent.events.some(({ kind }) => kind === "session-opened"));
    agent.port.loseClientUnseen();
    expect((await echoClient((await next).client).unary("x")).toString()).toBe("x");
    expect(agent.seen.received).toBe(0);
  });

  test("an agent that restarts unseen ends the session at once, not after the keepalive", async () => {
    const session = await bench.open(agent.uri, { keepaliveMs: 0 });
    await echoClient(session.client).unary("x");
    await agent.served.close(); // the host's side stays connected
    bench.serveOn(agent.port, "web-1");
    expect(await session.closed).toMatchObject({ code: "UNAVAILABLE", reason: "PEER_RESTARTED" });
    expect((await echoClient((await bench.open(agent.uri)).client).unary("y")).toString()).toBe("y");
  });

  test("a keepalive ends the session of an agent that is silent", async () => {
    const session = await bench.open(agent.uri, { keepaliveMs: 20 });
    await echoClient(session.client).unary("x");
    await agent.served.close();
    expect(await session.closed).toMatchObject({ code: "UNAVAILABLE", reason: "KEEPALIVE_TIMEOUT" });
  });

  test("a suspended keepalive does not, and goes on after resume", async () => {
    const session = await bench.open(agent.uri, { keepaliveMs: 20 });
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
    const early = bench.open(agent.uri);
    await new Promise((resolve) => setTimeout(resolve, 250));
    bench.serveOn(agent.port, "web-1");
    expect((await echoClient((await early).client).unary("x")).toString()).toBe("x");
  });

  test("any leavings before the hello are passed over", async () => {
    const dead = await bench.raw(agent.uri);
    dead.write(Buffer.concat([Buffer.alloc(100_000, 0x41), MAGIC, Buffer.of(1, 1, 0xff), MAGIC.subarray(0, 5)]));
    const next = bench.open(agent.uri);
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
