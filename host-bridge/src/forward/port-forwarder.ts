import { once, setMaxListeners } from "node:events";
import { chmodSync, lstatSync, unlinkSync } from "node:fs";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import type * as grpc from "@grpc/grpc-js";
import {
  createClient,
  type ForwardCall,
  giveUpForward,
  NetworkService,
  openForward,
  pumpForward,
  resetSocket,
  type zone,
} from "@zone/proto";
import { bridgeError, errorMessage } from "../errors.js";

/** Where connections are accepted on the host. */
export type HostEnd = { address: string /** 0 is any free one. */; port: number } | { path: string };

export interface PortForwarderOptions {
  listen: HostEnd;
  /** Where in the zone a connection leads to; asked for at each, when there is a client. */
  target(): zone.agent.v1.ForwardOpen.$Properties;
  /** A client of the zone's agent; asked for at each connection, so that a link that was made again is used. */
  client(signal: AbortSignal): Promise<grpc.Client>;
  /** At once; what comes beyond is closed. 1,024 by default. */
  maxConnections?: number;
  /** Told why a connection has failed; it is over then. */
  onConnectionFailed?: (error: unknown) => void;
  /** Told why connections cannot be accepted, accept(2); once a second at most, for it goes on as long as the reason does. */
  onAcceptFailed?: (error: unknown) => void;
}

const MAX_CONNECTIONS = 1024;
/** Only the bridge's user and group may connect to a published Unix socket. */
const SOCKET_MODE = 0o660;
const ACCEPT_REPORT_MS = 1000;

/**
 * Accepts connections on the host and forwards each into the zone, over its link: `Network.Forward`. A connection that cannot be
 * made in the zone, or breaks there, is reset here.
 */
export class PortForwarder {
  readonly #options: PortForwarderOptions;
  readonly #server: Server;
  readonly #closing = new AbortController();
  readonly #connections = new Set<Promise<void>>();
  #acceptReported = Number.NEGATIVE_INFINITY;

  private constructor(options: PortForwarderOptions, server: Server) {
    this.#options = options;
    this.#server = server;
    setMaxListeners(0, this.#closing.signal); // one for each connection
    server.on("connection", (socket) => this.#accept(socket));
  }

  /** Listens; PORT_IN_USE, INVALID_PORT (the host has no such address, or does not let us), or what bind(2) says. */
  static async listen(options: PortForwarderOptions): Promise<PortForwarder> {
    const { listen, maxConnections = MAX_CONNECTIONS } = options;
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true });
    server.maxConnections = maxConnections;
    const forwarder = new PortForwarder(options, server);
    try {
      if ("path" in listen) await removeStale(listen.path);
      server.listen("path" in listen ? { path: listen.path } : { host: listen.address, port: listen.port });
      await once(server, "listening");
    } catch (error) {
      throw listenError(listen, error);
    }
    server.on("error", (error) => forwarder.#acceptFailed(error));
    if ("path" in listen) chmodSync(listen.path, SOCKET_MODE);
    return forwarder;
  }

  /** Where it listens, with the port that it got. */
  get listening(): HostEnd {
    const address: string | AddressInfo | null = this.#server.address();
    if (address === null || typeof address === "string") return this.#options.listen;
    return { address: address.address, port: address.port };
  }

  /** Connections that are open now. */
  get connections(): number {
    return this.#connections.size;
  }

  /** Stops listening, resets what is open, and settles when all is closed. Idempotent. */
  async close(): Promise<void> {
    this.#closing.abort();
    if (this.#server.listening) {
      const closed = once(this.#server, "close");
      this.#server.close();
      await Promise.all([closed, ...this.#connections]);
    }
    await Promise.all(this.#connections);
  }

  /** EMFILE, ENOBUFS...: the connection waits in the queue or is lost; the listener goes on. */
  #acceptFailed(error: Error): void {
    const now = performance.now();
    if (now - this.#acceptReported < ACCEPT_REPORT_MS) return;
    this.#acceptReported = now;
    this.#options.onAcceptFailed?.(error);
  }

  #accept(socket: Socket): void {
    socket.on("error", () => {}); // comes with the forwarding as well
    const connection = this.#forward(socket)
      .catch((error: unknown) => {
        if (!this.#closing.signal.aborted) this.#options.onConnectionFailed?.(error);
      })
      .finally(() => this.#connections.delete(connection));
    this.#connections.add(connection);
  }

  async #forward(socket: Socket): Promise<void> {
    const gone = new AbortController();
    const leave = () => gone.abort();
    socket.once("close", leave);
    this.#closing.signal.addEventListener("abort", leave);
    try {
      const call = await this.#open(gone.signal);
      gone.signal.addEventListener("abort", () => resetSocket(socket), { once: true });
      await pumpForward(socket, call);
    } catch (error) {
      resetSocket(socket);
      throw error;
    } finally {
      this.#closing.signal.removeEventListener("abort", leave);
    }
  }

  /** A call that is connected to its target. */
  async #open(signal: AbortSignal): Promise<ForwardCall> {
    signal.throwIfAborted();
    const client = await this.#options.client(signal);
    signal.throwIfAborted();
    const call = createClient(NetworkService, client).forward();
    const giveUp = () => giveUpForward(call);
    signal.addEventListener("abort", giveUp, { once: true });
    try {
      await openForward(call, this.#options.target());
    } finally {
      signal.removeEventListener("abort", giveUp);
    }
    if (!signal.aborted) return call;
    giveUpForward(call);
    throw signal.reason;
  }
}

/** Removes what a bridge that has ended without closing has left: a socket that nobody listens on. */
async function removeStale(path: string): Promise<void> {
  if (!lstatSync(path, { throwIfNoEntry: false })?.isSocket()) return;
  const probe = connect({ path });
  try {
    await once(probe, "connect");
  } catch (error) {
    if (codeOf(error) === "ECONNREFUSED") unlinkSync(path);
  } finally {
    probe.destroy();
  }
}

function listenError(listen: HostEnd, error: unknown): unknown {
  const where = "path" in listen ? listen.path : `${listen.address} port ${listen.port}`;
  const resource = { type: "port", name: where };
  switch (codeOf(error)) {
    case "EADDRINUSE":
      return bridgeError("ALREADY_EXISTS", "PORT_IN_USE", `${where} is in use on the host`, resource, error);
    case "EADDRNOTAVAIL":
    case "EACCES":
    case "ENOENT":
    case "ENOTDIR":
    case "EINVAL": {
      const message = `cannot listen on ${where}: ${errorMessage(error)}`;
      return bridgeError("INVALID_ARGUMENT", "INVALID_PORT", message, resource, error);
    }
  }
  return error;
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && "code" in error ? error.code : undefined;
}
