import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { type ForwardCall, ZoneError } from "@zone/proto";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { RunningAgent } from "../../testing/running-agent.js";
import { NETWORK_LIMITS } from "../limits.js";
import { ForwardClient } from "../testing/forward-client.js";

const work = mkdtempSync(join(tmpdir(), "zone-forward-"));
let agent: RunningAgent;
const servers: Server[] = [];

beforeAll(async () => {
  agent = await RunningAgent.start();
});
afterEach(() => {
  for (const server of servers.splice(0)) server.close();
});
afterAll(async () => {
  await agent.stop();
  rmSync(work, { recursive: true });
});

/** A service of the "zone", which here is this host. */
async function serve(onConnection: (socket: Socket) => void, where: object = { host: "127.0.0.1", port: 0 }) {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on("error", () => {});
    onConnection(socket);
  });
  servers.push(server);
  server.listen(where);
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
}

const tcp = (port: number) => ({ tcp: { port } });

/** Settles when the agent has no more than so many descriptors. */
async function descriptorsBack(count: number): Promise<void> {
  while (agent.descriptors("agent") > count) await setImmediate();
}

async function reasonOf(promise: Promise<unknown>): Promise<{ code: string; reason: string; message: string }> {
  try {
    await promise;
  } catch (error) {
    const { code, reason, message } = ZoneError.from(error);
    return { code, reason, message };
  }
  throw new Error("no error");
}

describe("a connection", () => {
  it("carries bytes both ways, each to its own end", async () => {
    const port = await serve((socket) => {
      const chunks: Buffer[] = [];
      socket.on("data", (chunk) => chunks.push(chunk));
      socket.on("end", () => {
        socket.write(`got ${Buffer.concat(chunks)}, `);
        socket.end("bye");
      });
    });
    const client = await ForwardClient.open(agent, tcp(port));
    await client.send("hello ");
    await client.send("there");
    expect(client.receivedBytes).toBe(0);
    client.sendEof();
    await client.ended;
    expect(client.received.toString()).toBe("got hello there, bye");
    expect(client.sawEof).toBe(true);
  });

  it("goes on towards the service when the service has ended its own direction", async () => {
    let got = "";
    let taken: () => void = () => {};
    const all = new Promise<void>((resolve) => {
      taken = resolve;
    });
    const port = await serve((socket) => {
      socket.end("first and last");
      socket.on("data", (chunk) => {
        got += chunk;
      });
      socket.on("end", taken);
    });
    const client = await ForwardClient.open(agent, tcp(port));
    await client.until(() => client.sawEof);
    await client.send("still ");
    await client.send("heard");
    client.sendEof();
    await all;
    await client.ended;
    expect(got).toBe("still heard");
    expect(client.received.toString()).toBe("first and last");
  });

  it("finds a service on ::1 when 127.0.0.1 has none", async () => {
    const port = await serve((socket) => socket.end("six"), { host: "::1", port: 0, ipv6Only: true });
    const client = await ForwardClient.open(agent, tcp(port));
    client.sendEof();
    await client.ended;
    expect(client.received.toString()).toBe("six");
  });

  it("reaches a Unix socket", async () => {
    const path = join(work, "echo.sock");
    await serve((socket) => socket.pipe(socket), { path });
    const client = await ForwardClient.open(agent, { unix: { path } });
    await client.send("over a file");
    client.sendEof();
    await client.ended;
    expect(client.received.toString()).toBe("over a file");
  });

  it("passes on what a service has said before it closed, though more is being sent to it", async () => {
    const path = join(work, "rude.sock");
    await serve(
      (socket) => {
        // It answers, reads nothing, and goes.
        socket.pause();
        socket.write("413 too large", () => socket.destroy());
      },
      { path },
    );
    for (let round = 0; round < 20; round++) {
      const client = await ForwardClient.open(agent, { unix: { path } });
      client.call.on("error", () => {});
      for (let i = 0; i < 4; i++) client.call.write({ data: Buffer.alloc(64 * 1024) });
      client.sendEof();
      await client.ended.catch(() => {});
      expect(client.received.toString()).toBe("413 too large");
    }
  });
});

describe("back-pressure", () => {
  it("stops the service when the client does not read, and loses nothing", async () => {
    const total = 64 * 1024 * 1024;
    let written = 0;
    const port = await serve((socket) => {
      const chunk = Buffer.alloc(256 * 1024, "x");
      const more = () => {
        while (written < total) {
          written += chunk.length;
          if (!socket.write(chunk)) return void socket.once("drain", more);
        }
        socket.end();
      };
      more();
    });
    const client = await ForwardClient.open(agent, tcp(port));
    await client.until(() => client.receivedBytes > 0);
    client.call.pause();
    let before = -1;
    while (before !== written) {
      before = written;
      await new Promise((resolve) => setTimeout(resolve, 300)); // nothing tells that nothing more happens
    }
    expect(written).toBeLessThan(24 * 1024 * 1024);
    client.call.resume();
    client.sendEof();
    await client.ended;
    expect(client.receivedBytes).toBe(total);
  });

  it("stops the client when the service does not read", async () => {
    let service: Socket | undefined;
    const port = await serve((socket) => {
      service = socket.pause();
    });
    const client = await ForwardClient.open(agent, tcp(port));
    let sent = 0;
    let full = false;
    while (!full) {
      const sending = client.send(Buffer.alloc(256 * 1024)).then(() => false);
      // A full call is one that does not drain while nothing else happens.
      full = await Promise.race([sending, new Promise<boolean>((resolve) => setTimeout(resolve, 2000, true))]);
      sent += 256 * 1024;
      expect(sent).toBeLessThan(64 * 1024 * 1024);
    }
    let got = 0;
    const all = new Promise<void>((resolve) => service?.on("end", () => resolve()));
    service?.on("data", (chunk) => {
      got += chunk.length;
    });
    service?.resume();
    client.sendEof();
    await all;
    expect(got).toBe(sent);
    service?.end();
    await client.ended;
  });
});

describe("what goes wrong is told", () => {
  const unused = async () => {
    const port = await serve(() => {});
    const server = servers.pop();
    await new Promise((resolve) => server?.close(resolve));
    return port;
  };

  it("a refused connection", async () => {
    const open = ForwardClient.open(agent, tcp(await unused()));
    await expect(reasonOf(open)).resolves.toMatchObject({ code: "UNAVAILABLE", reason: "CONNECTION_REFUSED" });
  });

  it("a Unix socket that is not there, or that is none", async () => {
    const file = join(work, "file");
    writeFileSync(file, "");
    for (const path of [join(work, "missing.sock"), file, `${file}/below`]) {
      const error = await reasonOf(ForwardClient.open(agent, { unix: { path } }));
      expect(error).toMatchObject({ code: "UNAVAILABLE", reason: "CONNECTION_REFUSED" });
      expect(error.message).toContain(path);
    }
  });

  it("a connection that is reset", async () => {
    const port = await serve((socket) => socket.once("data", () => socket.resetAndDestroy()));
    const client = await ForwardClient.open(agent, tcp(port));
    await client.send("go away");
    await expect(reasonOf(client.ended)).resolves.toMatchObject({ code: "UNAVAILABLE", reason: "CONNECTION_RESET" });
    expect(client.sawEof).toBe(false);
  });

  it("a container that is not there", async () => {
    const open = ForwardClient.open(agent, { unix: { containerId: "nobody", path: "/run/x.sock" } });
    await expect(reasonOf(open)).resolves.toMatchObject({ code: "NOT_FOUND", reason: "CONTAINER_UNKNOWN" });
  });

  it.each([
    ["INVALID_ADDRESS", {}],
    ["INVALID_ADDRESS", { tcp: { port: 0 } }],
    ["INVALID_ADDRESS", { tcp: { port: 65536 } }],
    ["INVALID_ADDRESS", { tcp: { address: "localhost", port: 80 } }],
    ["INVALID_ADDRESS", { tcp: { address: "0.0.0.0", port: 80 } }],
    ["INVALID_ADDRESS", { unix: { path: "relative" } }],
    ["INVALID_ADDRESS", { unix: { path: `/${"x".repeat(5000)}` } }],
    ["INVALID_TIME", { tcp: { port: 80 }, connectTimeoutMs: 120_001 }],
  ])("%s: %j", async (reason, open) => {
    const error = await reasonOf(ForwardClient.open(agent, open));
    expect(error).toMatchObject({ code: "INVALID_ARGUMENT", reason });
  });

  it("a first message that is not `open`, and a second one that is", async () => {
    const first = agent.network.forward();
    const failed = new Promise((_, reject) => first.on("error", reject));
    first.write({ data: Buffer.from("x") });
    await expect(reasonOf(failed)).resolves.toMatchObject({ code: "INVALID_ARGUMENT", reason: "OPEN_EXPECTED" });

    const none = agent.network.forward();
    const ended = new Promise((_, reject) => none.on("error", reject));
    none.end();
    await expect(reasonOf(ended)).resolves.toMatchObject({ code: "INVALID_ARGUMENT", reason: "OPEN_EXPECTED" });

    const port = await serve((socket) => socket.resume());
    const client = await ForwardClient.open(agent, tcp(port));
    client.call.write({ open: tcp(port) });
    await expect(reasonOf(client.ended)).resolves.toMatchObject({ reason: "OPEN_EXPECTED" });
  });

  it("data after the eof, and too much of it in a message", async () => {
    const port = await serve((socket) => socket.resume());
    const late = await ForwardClient.open(agent, tcp(port));
    late.call.write({ eof: {} });
    late.call.write({ data: Buffer.from("late") });
    await expect(reasonOf(late.ended)).resolves.toMatchObject({ reason: "OPEN_EXPECTED" });
    const large = await ForwardClient.open(agent, tcp(port));
    large.call.write({ data: Buffer.alloc(256 * 1024 + 1) });
    await expect(reasonOf(large.ended)).resolves.toMatchObject({ code: "INVALID_ARGUMENT", reason: "INVALID_SIZE" });
  });
});

describe("descriptors", () => {
  it.each<[string, (call: ForwardCall) => void]>([
    ["cancels", (call) => call.cancel()],
    ["ends its messages without an eof", (call) => call.end()],
  ])("are closed when the client %s, and the service's connection is reset", async (_, leave) => {
    let tell: (what: string) => void = () => {};
    const found = new Promise<string>((resolve) => {
      tell = resolve;
    });
    const port = await serve((socket) => {
      socket.on("error", (error: NodeJS.ErrnoException) => tell(error.code ?? ""));
      socket.on("end", () => tell("end"));
      socket.resume();
    });
    const before = agent.descriptors("agent");
    const client = await ForwardClient.open(agent, tcp(port));
    await client.send("half of it");
    leave(client.call);
    await expect(found).resolves.toBe("ECONNRESET");
    await expect(reasonOf(client.ended)).resolves.toMatchObject({ code: "CANCELLED" });
    await descriptorsBack(before);
  });

  it("are closed when the client cancels while the connection is being made", async () => {
    const before = agent.descriptors("agent");
    const call = agent.network.forward();
    call.on("error", () => {});
    call.write({ open: { tcp: { address: "198.51.100.1", port: 9 } } });
    await agent.network.getSysctl({ name: "kernel.ostype" }); // the call before it has been taken
    call.cancel();
    await descriptorsBack(before);
  });

  it("do not leak over thousands of connections, and no more than the limit are open at once", async () => {
    const port = await serve((socket) => socket.pipe(socket));
    const before = agent.descriptors("agent");
    const echo = async (text: string) => {
      const client = await ForwardClient.open(agent, tcp(port));
      await client.send(text);
      client.sendEof();
      await client.ended;
      expect(client.received.toString()).toBe(text);
    };
    for (let round = 0; round < 20; round++) {
      await Promise.all(Array.from({ length: 100 }, (_, index) => echo(`${round} ${index}`)));
    }
    await descriptorsBack(before);

    const open: ForwardClient[] = [];
    while (open.length < NETWORK_LIMITS.connections) {
      open.push(...(await Promise.all(Array.from({ length: 64 }, () => ForwardClient.open(agent, tcp(port))))));
    }
    const error = await reasonOf(ForwardClient.open(agent, tcp(port)));
    expect(error).toMatchObject({ code: "RESOURCE_EXHAUSTED", reason: "TOO_MANY_CONNECTIONS" });
    // Thousands of cancelled calls at once would be taken for an attack by nghttp2.
    for (const client of open) client.call.end();
    await descriptorsBack(before);
    await echo("room again");
  }, 120_000);
});
