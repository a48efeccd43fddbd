import { mkdtempSync, rmSync } from "node:fs";
import * as net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FrameScanner } from "../frame-scanner.js";
import { encodeFrame } from "../frames.js";
import { kernelNonce } from "../handshake.js";
import { type ServedLinks, type ServeEvent, serveLinks } from "../serve.js";
import { openSession, type Session } from "../session.js";
import { echoServer } from "./echo-service.js";
import { EmulatedPort } from "./emulated-port.js";

/** For tests' time limits that no slow machine reaches. */
export const LONG = 60_000;
/** The agent gives a silent bridge up after three times this: longer than this process may stand still. */
const AGENT_KEEPALIVE_MS = 1500;
export const IDENTITY = { zoneId: "web-1", bootId: "boot", agentVersion: "0.1.0" };

export interface Agent {
  readonly uri: string;
  readonly events: ServeEvent[];
  readonly served: ServedLinks;
  readonly seen: ReturnType<typeof echoServer>["seen"];
  /** One-stream links. */
  readonly port?: EmulatedPort;
}

/** A folder with agents and bridges, all of which `close` ends. For tests. */
export class LinkBench {
  readonly folder: string = mkdtempSync(join(tmpdir(), "zone-link-"));
  /** What `close` does, in reverse order. */
  readonly cleanups: (() => unknown)[] = [() => rmSync(this.folder, { recursive: true })];

  async close(): Promise<void> {
    for (const cleanup of this.cleanups.reverse()) await cleanup();
  }

  /** An agent on a Unix socket: a many-stream link. */
  async unixAgent(zoneId = IDENTITY.zoneId): Promise<Agent> {
    const path = join(this.folder, "agent");
    const { server, seen } = echoServer();
    const events: ServeEvent[] = [];
    const served = serveLinks(server, [{ kind: "unix", path }], () => ({ ...IDENTITY, zoneId }), {
      onEvent: (event) => events.push(event),
      keepaliveMs: AGENT_KEEPALIVE_MS,
    });
    await served.ready;
    this.cleanups.push(() => served.close());
    return { uri: `unix:${path}`, events, served, seen };
  }

  /** An agent on a port: a one-stream link. */
  async serialAgent(zoneId = IDENTITY.zoneId): Promise<Agent & { port: EmulatedPort }> {
    const path = join(this.folder, "port");
    const port = await EmulatedPort.listen(path);
    this.cleanups.push(() => port.close());
    return { uri: `serial:${path}`, port, ...this.serveOn(port, zoneId) };
  }

  /** Another agent on a port that its agent has left. */
  serveOn(port: EmulatedPort, zoneId = IDENTITY.zoneId) {
    const { server, seen } = echoServer();
    const events: ServeEvent[] = [];
    const served = serveLinks(server, [{ kind: "serial", port: "zone.link" }], () => ({ ...IDENTITY, zoneId }), {
      onEvent: (event) => events.push(event),
      openPort: async () => port.open(),
      keepaliveMs: AGENT_KEEPALIVE_MS,
    });
    this.cleanups.push(() => served.close());
    return { events, served, seen };
  }

  async open(uri: string, options: { zoneId?: string; keepaliveMs?: number } = {}): Promise<Session> {
    const session = await openSession(uri, { zoneId: "", timeoutMs: LONG, ...options });
    this.cleanups.push(() => session.close().catch(() => {}));
    return session;
  }

  /** A raw client of a link's socket. */
  async raw(uri: string): Promise<net.Socket> {
    const socket = net.connect(uri.slice(uri.indexOf(":") + 1));
    this.cleanups.push(() => socket.destroy());
    socket.on("error", () => {});
    await new Promise((resolve) => socket.once("connect", resolve));
    return socket;
  }

  /** A client that has shaken hands and begun HTTP/2, and now does nothing more by itself. */
  async rawSession(uri: string): Promise<net.Socket> {
    const socket = await this.raw(uri);
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
    socket.write(
      Buffer.concat([Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), Buffer.of(0, 0, 0, 4, 0, 0, 0, 0, 0)]),
    );
    return socket;
  }
}

export function hello(versions: { min: number; max: number }): Buffer {
  return encodeFrame({ type: "hello", ...versions, purpose: "session", nonce: kernelNonce(), zoneId: "" });
}

/** What a promise rejects with. */
export function failure(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => Promise.reject(new Error("it did not fail")),
    (error: unknown) => error,
  );
}

/** Lets the event loop turn until the condition holds; the test's time limit ends it otherwise. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}
