import { type ChildProcess, spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { type AddressInfo, connect, createServer, Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { openSession, type Session } from "@zone/link";
import { resetSocket, ZoneError } from "@zone/proto";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { type HostEnd, PortForwarder, type PortForwarderOptions } from "./port-forwarder.js";

/** The real agent as a process of this host; its "zone" has this host's network. */
const repository = fileURLToPath(new URL("../../..", import.meta.url));
const work = mkdtempSync(join(tmpdir(), "zone-ports-"));
let init: ChildProcess;
let session: Session;
const opened: PortForwarder[] = [];
const servers: Server[] = [];

beforeAll(async () => {
  const agent = ["--foreground", "--", process.execPath, join(repository, "agent/dist/main.js")];
  const uri = `unix:${join(work, "agent.sock")}`;
  init = spawn(join(repository, "native/build/zone-init"), agent, {
    stdio: ["ignore", "ignore", "inherit"],
    env: {
      PATH: process.env.PATH,
      ZONE_RUN: join(work, "run"),
      ZONE_CGROUPS: join(work, "none"),
      ZONE_CMDLINE: `zone.link=${uri}`,
    },
  });
  for (;;) {
    try {
      session = await openSession(uri, { zoneId: "", timeoutMs: 50_000 });
      return;
    } catch {
      await setImmediate(); // there is nothing to wait for but a socket that is not there yet
    }
  }
});
afterEach(async () => {
  for (const forwarder of opened.splice(0)) await forwarder.close();
  for (const server of servers.splice(0)) server.close();
});
afterAll(async () => {
  await session.close();
  const ended = once(init, "exit");
  init.kill("SIGTERM");
  await ended;
  rmSync(work, { recursive: true });
});

async function serve(onConnection: (socket: Socket) => void): Promise<number> {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on("error", () => {});
    onConnection(socket);
  });
  servers.push(server);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
}

async function publish(
  port: number,
  options: Partial<PortForwarderOptions> = {},
): Promise<{ forwarder: PortForwarder; port: number }> {
  const forwarder = await PortForwarder.listen({
    listen: { address: "127.0.0.1", port: 0 },
    target: () => ({ tcp: { port } }),
    client: async () => session.client,
    ...options,
  });
  opened.push(forwarder);
  const end = forwarder.listening;
  return { forwarder, port: "port" in end ? end.port : 0 };
}

/** Not by iterating: that closes the socket when it has been read. */
async function readAll(socket: Socket): Promise<Buffer> {
  const chunks: Buffer[] = [];
  socket.on("data", (chunk) => chunks.push(chunk));
  await once(socket, "end");
  return Buffer.concat(chunks);
}

/** The errno with which a connection ends. */
async function errorOf(socket: Socket): Promise<string> {
  socket.resume();
  const [error] = await once(socket, "error");
  return (error as NodeJS.ErrnoException).code ?? "";
}

const descriptors = () => readdirSync("/proc/self/fd").length;

describe("a published port", () => {
  it("carries a request, its half-close and the whole answer", async () => {
    const answer = randomBytes(8 * 1024 * 1024);
    const service = await serve((socket) => {
      readAll(socket).then((request) => socket.end(Buffer.concat([request, answer])));
    });
    const { port } = await publish(service);
    const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
    socket.end("please: ");
    const got = await readAll(socket);
    const hash = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex");
    expect(got.subarray(0, 8).toString()).toBe("please: ");
    expect(hash(got.subarray(8))).toBe(hash(answer));
  });

  it("can be a Unix socket, which is gone afterwards; one that a dead bridge left is replaced", async () => {
    const path = join(work, "app.sock");
    const service = await serve((socket) => socket.end("hello"));
    const listen = { path };
    const dead = spawn(process.execPath, [
      "-e",
      `require("net").createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, "SIGKILL"))`,
    ]);
    await once(dead, "exit");
    expect(statSync(path).isSocket()).toBe(true);
    const { forwarder } = await publish(service, { listen });
    expect(statSync(path).mode & 0o777).toBe(0o660);
    expect((await readAll(connect({ path }))).toString()).toBe("hello");
    await expect(
      PortForwarder.listen({ listen, target: () => ({}), client: async () => session.client }),
    ).rejects.toMatchObject({
      code: "ALREADY_EXISTS",
      reason: "PORT_IN_USE",
    });
    await forwarder.close();
    expect(() => statSync(path)).toThrow("ENOENT");
  });

  it("resets the client when nobody listens in the zone, and tells why", async () => {
    const failures: unknown[] = [];
    const { port } = await publish(1, { onConnectionFailed: (error) => failures.push(error) });
    const socket = connect({ port, host: "127.0.0.1" });
    expect(await errorOf(socket)).toBe("ECONNRESET");
    while (failures.length === 0) await setImmediate();
    expect(ZoneError.from(failures[0])).toMatchObject({ reason: "CONNECTION_REFUSED" });
  });

  it("resets the client when the service does, and the service when the client does", async () => {
    const inZone: Promise<string>[] = [];
    const service = await serve((socket) => {
      socket.once("data", (data) => {
        if (data.toString() === "reset") resetSocket(socket);
        else inZone.push(errorOf(socket));
      });
    });
    const { port } = await publish(service);
    const first = connect({ port, host: "127.0.0.1" });
    first.write("reset");
    expect(await errorOf(first)).toBe("ECONNRESET");
    const second = connect({ port, host: "127.0.0.1" });
    second.write("stay");
    // Not before the data was read: a reset that comes together with data reads as an end in Node.
    while (inZone.length === 0) await setImmediate();
    resetSocket(second);
    expect(await inZone[0]).toBe("ECONNRESET");
  });

  it("resets the client when there is no link", async () => {
    const { port } = await publish(1, {
      client: async () => {
        throw new Error("no link");
      },
    });
    expect(await errorOf(connect({ port, host: "127.0.0.1" }))).toBe("ECONNRESET");
  });

  it("lets go of all when it is closed, also of a connection that waits for the link", async () => {
    const service = await serve((socket) => socket.resume().on("end", () => socket.destroy()));
    const before = descriptors();
    const { forwarder, port } = await publish(service);
    const waiting = await publish(service, {
      client: (signal) => new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason))),
    });
    const sockets = [port, port, waiting.port].map((to) => connect({ port: to, host: "127.0.0.1" }));
    const errors = sockets.map(errorOf);
    while (forwarder.connections < 2 || waiting.forwarder.connections < 1) await setImmediate();
    await Promise.all([forwarder.close(), waiting.forwarder.close()]);
    expect(await Promise.all(errors)).toEqual(Array(3).fill("ECONNRESET"));
    expect([forwarder.connections, waiting.forwarder.connections]).toEqual([0, 0]);
    while (descriptors() > before) await setImmediate();
    await forwarder.close();
  });

  it("takes more connections in its life than a session may have streams reset", async () => {
    const service = await serve((socket) => socket.pipe(socket));
    const { port } = await publish(service);
    for (let round = 0; round < 30; round++) {
      const sockets = Array.from({ length: 50 }, () => connect({ port, host: "127.0.0.1" }));
      await Promise.all(
        sockets.map(async (socket) => {
          socket.write("x");
          await once(socket, "data");
          resetSocket(socket);
        }),
      );
    }
    const socket = connect({ port, host: "127.0.0.1" });
    socket.end("still here");
    expect((await readAll(socket)).toString()).toBe("still here");
  });

  it.each<[string, HostEnd]>([
    ["an address that the host does not have", { address: "192.0.2.77", port: 0 }],
    ["a folder that is not there", { path: join(work, "none/app.sock") }],
  ])("is refused at %s", async (_, listen) => {
    const refused = PortForwarder.listen({ listen, target: () => ({}), client: async () => session.client });
    await expect(refused).rejects.toMatchObject({ code: "INVALID_ARGUMENT", reason: "INVALID_PORT" });
  });

  it("is refused where another listens, or where there is a file", async () => {
    const taken = await serve(() => {});
    const path = join(work, "file");
    writeFileSync(path, "mine");
    for (const listen of [{ address: "127.0.0.1", port: taken }, { path }]) {
      const refused = PortForwarder.listen({ listen, target: () => ({}), client: async () => session.client });
      await expect(refused).rejects.toMatchObject({ code: "ALREADY_EXISTS", reason: "PORT_IN_USE" });
    }
  });

  it("outlives an accept(2) that fails, and tells of it, not too often", async () => {
    const service = await serve((socket) => socket.end("hello"));
    const listen = vi.spyOn(Server.prototype, "listen");
    const failures: unknown[] = [];
    const { port } = await publish(service, { onAcceptFailed: (error) => failures.push(error) });
    const server = listen.mock.contexts[0] as Server;
    listen.mockRestore();
    // What Node makes of an error of accept(2).
    const error = Object.assign(new Error("accept ENOBUFS"), { code: "ENOBUFS" });
    for (let times = 0; times < 3; times++) server.emit("error", error);
    expect(failures).toEqual([error]);
    expect((await readAll(connect({ port, host: "127.0.0.1" }))).toString()).toBe("hello");
  });
});
