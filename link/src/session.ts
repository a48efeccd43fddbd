import type { Duplex } from "node:stream";
import type * as grpc from "@grpc/grpc-js";
import { clientOn, DuplexChannel } from "./duplex-channel.js";
import { linkError } from "./errors.js";
import { greet } from "./greet.js";
import { DirectStream, type HandshakeStream } from "./handshake-stream.js";
import type { AgentHello } from "./hello.js";
import { Keepalive, keepaliveOptions } from "./keepalive.js";
import { OneStreamPort } from "./one-stream-port.js";
import { hasOneStream, openTransport } from "./transport.js";
import { type LinkAddress, parseLinkUri } from "./uri.js";

/** A port keeps what was said before the agent listened, or does not: so the hello is said again. */
const REPEAT_HELLO_MS = 100;
/** Bound of an orderly end, beside the grace that the caller gives. */
const CLOSE_MS = 5000;

export interface ProbeOptions {
  /** What the bridge believes this zone's id to be; empty when it has none yet. */
  readonly zoneId: string;
  /** Milliseconds for transport and handshake together. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
}

export interface SessionOptions extends ProbeOptions {
  /** Milliseconds between PINGs; 0: none. Default 10,000. A PING without an answer for twice that long ends the session. */
  readonly keepaliveMs?: number;
  /** Longest message that is accepted from the agent, in bytes. Default: 4 MiB, as gRPC's. */
  readonly maxReceiveBytes?: number;
}

/** One session: handshake done, HTTP/2 running. */
export interface Session {
  readonly client: grpc.Client;
  readonly hello: AgentHello;
  /** True while calls can be made. */
  readonly isOpen: boolean;
  /** Settles when the session is over: with undefined after close(), else with the error that ended it. Never rejects. */
  readonly closed: Promise<Error | undefined>;
  /** Settles when no more calls can be made, with why: the agent has said that it goes, or the session is over. Never rejects. */
  readonly ending: Promise<Error>;
  /**
   * Orderly end: calls that still run get `graceMs` (default 0) and then UNAVAILABLE, the agent is told (GOAWAY), and on a
   * one-stream link it has said that it waits for the next hello when this resolves. Rejects when it does not say so in 5 s.
   */
  close(graceMs?: number): Promise<void>;
  /** No keepalive while the zone is paused. */
  suspend(): void;
  resume(): void;
}

/** Is an agent there, ready for a session? One handshake; the agent waits for the next hello afterwards. */
export async function probeAgent(uri: string, options: ProbeOptions): Promise<AgentHello> {
  const { stream, agent } = await connect(uri, "probe", options);
  stream.destroy();
  return agent;
}

/** Opens a session: transport, handshake, HTTP/2. Rejects with a ZoneError of domain "zone.link". */
export async function openSession(uri: string, options: SessionOptions): Promise<Session> {
  const { stream, agent, duplex } = await connect(uri, "session", options);
  if (!duplex) throw new Error("a handshake for a session gave no stream");
  return new OpenSession(uri, stream, duplex, agent, options);
}

async function connect(uri: string, purpose: "session" | "probe", options: ProbeOptions) {
  const address = parseLinkUri(uri);
  const start = performance.now();
  const raw = await openTransport(address, options);
  const stream = handshakeStream(address, raw);
  const timeoutMs = Math.max(0, options.timeoutMs - (performance.now() - start));
  const repeatMs = hasOneStream(address) ? REPEAT_HELLO_MS : 0;
  return { stream, ...(await greet(stream, { ...options, uri, purpose, timeoutMs, repeatMs })) };
}

function handshakeStream(address: LinkAddress, raw: Duplex): HandshakeStream {
  return hasOneStream(address) ? new OneStreamPort(raw) : new DirectStream(raw);
}

class OpenSession implements Session {
  readonly client: grpc.Client;
  readonly closed: Promise<Error | undefined>;
  readonly ending: Promise<Error>;
  readonly #channel: DuplexChannel;
  readonly #keepalive: Keepalive;
  #closing: Promise<void> | undefined;

  constructor(
    readonly uri: string,
    readonly stream: HandshakeStream,
    duplex: Duplex,
    readonly hello: AgentHello,
    options: SessionOptions,
  ) {
    const channel = new DuplexChannel(duplex, options);
    this.#channel = channel;
    this.client = clientOn(channel);
    const keepalive = keepaliveOptions(options.keepaliveMs);
    this.#keepalive = new Keepalive(channel.http2, keepalive, () => channel.destroy(dead(uri, keepalive.timeoutMs)));
    if (stream instanceof OneStreamPort) {
      stream.onSessionEnd = (error) => {
        if (error) channel.destroy(error);
      };
    }
    this.ending = channel.ending.then(() => {
      // On a port no other session can begin while this one's calls run out; the agent does not wait for them either.
      if (stream instanceof OneStreamPort && !this.#closing) channel.destroy(channel.lossReason());
      return channel.lossReason();
    });
    this.closed = channel.closed.then((error) => {
      if (!this.#closing) stream.destroy();
      return error;
    });
  }

  get isOpen(): boolean {
    return this.#channel.isOpen;
  }

  suspend(): void {
    this.#keepalive.suspend();
  }

  resume(): void {
    this.#keepalive.resume();
  }

  close(graceMs = 0): Promise<void> {
    this.#closing ??= this.#close(graceMs);
    return this.#closing;
  }

  async #close(graceMs: number): Promise<void> {
    try {
      if (this.#channel.http2.destroyed) return;
      this.#channel.close();
      if (!(await settles(this.closed, graceMs))) this.#channel.cut();
      await settles(this.closed, CLOSE_MS);
      if (this.stream instanceof OneStreamPort) await this.#seeAgentWait(this.stream);
    } finally {
      this.stream.destroy();
    }
  }

  /** A probe on the port, which the session leaves. */
  async #seeAgentWait(port: OneStreamPort): Promise<void> {
    const { uri } = this;
    const { zoneId } = this.hello;
    port.endSession();
    await greet(port, { uri, purpose: "probe", zoneId, repeatMs: REPEAT_HELLO_MS, timeoutMs: CLOSE_MS });
  }
}

/** True when the promise settles within so many milliseconds. */
function settles(promise: Promise<unknown>, ms: number): Promise<boolean> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(false), ms);
    void promise.then(() => {
      clearTimeout(timer);
      resolve(true);
    });
  });
}

function dead(uri: string, timeoutMs: number): Error {
  return linkError(
    "UNAVAILABLE",
    "KEEPALIVE_TIMEOUT",
    `the agent on ${uri} did not answer a PING in ${timeoutMs} ms`,
    uri,
  );
}
