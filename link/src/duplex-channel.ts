import * as http2 from "node:http2";
import type { Duplex } from "node:stream";
import * as grpc from "@grpc/grpc-js";
import { DecoupledDuplex, WholeStream } from "./decoupled-duplex.js";
import { DuplexCall } from "./duplex-call.js";
import { linkError, messageOf } from "./errors.js";
import { WINDOW_BYTES } from "./http2-session.js";

const { connectivityState } = grpc;
/** setTimeout(2) of Node takes no more. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1;

export interface ChannelOptions {
  /** Longest message that is accepted, in bytes. Default: 4 MiB, as gRPC's. */
  readonly maxReceiveBytes?: number;
  /** HTTP/2 :authority; also the channel's target. Default "zone". */
  readonly authority?: string;
}

/**
 * A gRPC channel over one byte stream, which it owns. It never connects again: when the stream ends, so does the channel, and
 * its calls end with UNAVAILABLE.
 */
export class DuplexChannel implements grpc.ChannelInterface {
  readonly maxReceiveBytes: number;
  readonly authority: string;
  readonly http2: http2.ClientHttp2Session;
  /** Settles when the stream is given up: with undefined after `close`, else with why. Never rejects. */
  readonly closed: Promise<Error | undefined>;
  /** Settles when no more calls can be made: the server has said that it goes (GOAWAY), or the stream is given up. Never rejects. */
  readonly ending: Promise<void>;
  #state = connectivityState.CONNECTING;
  #watchers = new Set<() => void>();
  /** Why the channel is over, or is about to be. */
  #reason: Error | undefined;
  #orderly = false;

  constructor(duplex: Duplex, options: ChannelOptions = {}) {
    this.maxReceiveBytes = options.maxReceiveBytes ?? 4 * 1024 * 1024;
    this.authority = options.authority ?? "zone";
    this.http2 = http2.connect(`http://${this.authority}`, {
      createConnection: () => (duplex instanceof DecoupledDuplex ? duplex : new WholeStream(duplex)),
      settings: { initialWindowSize: WINDOW_BYTES, enablePush: false },
      // What a peer can make us hold is bounded by the windows, and by nghttp2's own limits on headers and control frames; this
      // limit also counts what we send, and fails streams at random when many are busy.
      maxSessionMemory: Number.MAX_SAFE_INTEGER,
    });
    this.http2.once("connect", () => {
      if (!this.http2.destroyed) this.http2.setLocalWindowSize(WINDOW_BYTES);
    });
    this.http2.once("remoteSettings", () => this.#become(connectivityState.READY));
    this.ending = new Promise((resolve) => {
      this.http2.on("goaway", (code) => {
        this.#reason ??= linkError("UNAVAILABLE", "LINK_LOST", `the agent ended the session (GOAWAY ${code})`);
        this.#become(connectivityState.TRANSIENT_FAILURE);
        resolve();
      });
      this.http2.once("close", resolve);
    });
    this.http2.on("error", (error) => {
      this.#reason ??= linkError(
        "UNAVAILABLE",
        "LINK_LOST",
        `the link was lost: ${messageOf(error)}`,
        undefined,
        error,
      );
    });
    this.closed = new Promise((resolve) => {
      this.http2.once("close", () => {
        this.#become(connectivityState.SHUTDOWN);
        resolve(this.#orderly ? undefined : this.lossReason());
      });
    });
  }

  /** True while calls can be made. */
  get isOpen(): boolean {
    return this.#reason === undefined && !this.http2.closed && !this.http2.destroyed;
  }

  /** Why a call on the lost stream failed. */
  lossReason(): Error {
    this.#reason ??= linkError("UNAVAILABLE", "LINK_LOST", "the link was lost: the peer closed it");
    return this.#reason;
  }

  /** No new calls; the stream is closed, with a GOAWAY, when those that run are over. */
  close(): void {
    this.#orderly = true;
    this.#reason ??= linkError("UNAVAILABLE", "LINK_CLOSED", "the link was closed");
    if (!this.http2.closed) this.http2.close();
  }

  /** After `close`: the calls that still run end now, with UNAVAILABLE. */
  cut(): void {
    if (!this.http2.destroyed) this.http2.destroy();
  }

  /** Gives the stream up. The calls end now, with UNAVAILABLE and this reason. */
  destroy(reason: Error): void {
    this.#reason ??= reason;
    this.cut();
  }

  getTarget(): string {
    return this.authority;
  }

  getConnectivityState(): grpc.connectivityState {
    return this.#state;
  }

  watchConnectivityState(
    current: grpc.connectivityState,
    deadline: Date | number,
    callback: (error?: Error) => void,
  ): void {
    if (current !== this.#state) {
      process.nextTick(callback);
      return;
    }
    const ms = Math.min(Math.max(0, Number(deadline) - Date.now()), MAX_TIMEOUT_MS);
    const timer = setTimeout(() => {
      this.#watchers.delete(changed);
      callback(new Error("the deadline passed without a change of the channel's state"));
    }, ms);
    const changed = () => {
      clearTimeout(timer);
      this.#watchers.delete(changed);
      callback();
    };
    this.#watchers.add(changed);
  }

  getChannelzRef(): ReturnType<grpc.ChannelInterface["getChannelzRef"]> {
    type Ref = ReturnType<grpc.ChannelInterface["getChannelzRef"]>;
    return { kind: "channel" as Ref["kind"], id: 0, name: this.getTarget() };
  }

  createCall(...[method, deadline, host, parent, flags]: Parameters<grpc.ChannelInterface["createCall"]>): DuplexCall {
    return new DuplexCall(this, { method, deadline, host: host ?? this.authority, parent, flags });
  }

  #become(state: grpc.connectivityState): void {
    if (this.#state === state || this.#state === connectivityState.SHUTDOWN) return;
    this.#state = state;
    for (const changed of [...this.#watchers]) changed();
  }
}

/** A gRPC client on a channel. */
export function clientOn(channel: DuplexChannel): grpc.Client {
  return new grpc.Client(channel.getTarget(), grpc.credentials.createInsecure(), {
    channelFactoryOverride: () => channel,
  });
}

/** A gRPC client over one byte stream, which it owns from now on. */
export function clientOver(duplex: Duplex, options: ChannelOptions = {}): grpc.Client {
  return clientOn(new DuplexChannel(duplex, options));
}
