import { setMaxListeners } from "node:events";
import type { Duplex } from "node:stream";
import type * as grpc from "@grpc/grpc-js";
import { ZoneError } from "@zone/proto";
import { type AgentContext, kernelNonce, OUR_VERSIONS } from "./handshake.js";
import type { AgentIdentity } from "./hello.js";
import { Keepalive, keepaliveOptions } from "./keepalive.js";
import { serveConnection } from "./serve-connection.js";
import { servePort } from "./serve-port.js";
import { sessionServer } from "./server-sessions.js";
import { findVirtioPort, openVirtioPort, type PortPaths } from "./transports/serial.js";
import { type Listener, listenUnix } from "./transports/unix.js";
import { listenVsock } from "./transports/vsock.js";
import type { AgentAddress } from "./uri.js";

/** What happens on the agent's links; for its log. */
export type ServeEvent =
  /** `zoneId`: what the bridge believes this zone to be. */
  | {
      readonly kind: "session-opened";
      readonly address: AgentAddress;
      readonly version: number;
      readonly zoneId: string;
    }
  | { readonly kind: "session-closed"; readonly address: AgentAddress; readonly error?: ZoneError }
  /** A vsock peer that is not the host; its connection was closed. */
  | { readonly kind: "peer-rejected"; readonly address: AgentAddress; readonly peer: { cid: number; port: number } }
  /** A connection that ended, or was closed, before a session was agreed on. */
  | { readonly kind: "handshake-failed"; readonly address: AgentAddress; readonly error: ZoneError }
  /** The port cannot be opened; told once, and tried again until it can. */
  | { readonly kind: "port-lost"; readonly address: AgentAddress; readonly error: ZoneError };

export interface ServeOptions extends PortPaths {
  readonly onEvent?: (event: ServeEvent) => void;
  /** Milliseconds between the agent's own PINGs; 0: none. Default 10,000; dead after twice that. */
  readonly keepaliveMs?: number;
  /** Opens the stream of a one-stream port; it may be opened again when it has ended. Default: the virtio-serial port by its name. */
  readonly openPort?: (name: string, signal: AbortSignal) => Promise<Duplex>;
}

export interface ServedLinks {
  /** Settles when every address is listened on; rejects when one cannot be. A serial port is waited for, and does not count. */
  readonly ready: Promise<void>;
  /** Ends all sessions and listeners. */
  close(): Promise<void>;
}

/** What the parts of this side share. */
export interface Serving {
  readonly context: AgentContext;
  readonly signal: AbortSignal;
  /** Begins a session on the stream. */
  begin(duplex: Duplex, address: AgentAddress, agreed: { version: number; zoneId: string }): void;
  event(event: ServeEvent): void;
}

/** Agent's side: waits for bridges on the addresses, and serves `server` to each. */
export function serveLinks(
  server: grpc.Server,
  addresses: readonly AgentAddress[],
  identity: () => AgentIdentity,
  options: ServeOptions = {},
): ServedLinks {
  const sessions = sessionServer(server);
  const abort = new AbortController();
  setMaxListeners(0, abort.signal); // one for each session
  const { onEvent = () => {} } = options;
  const keepalive = keepaliveOptions(options.keepaliveMs);
  const openPort = options.openPort ?? (async (name, signal) => openVirtioPort(findVirtioPort(name, options), signal));

  const serving: Serving = {
    context: { identity, nonce: kernelNonce, versions: OUR_VERSIONS },
    signal: abort.signal,
    event: onEvent,
    begin: (duplex, address, { version, zoneId }) => {
      const session = sessions.serve(duplex);
      let error: unknown;
      const end = () => session.destroy();
      abort.signal.addEventListener("abort", end, { once: true });
      session.on("error", (cause) => {
        error = cause;
      });
      session.once("close", () => {
        abort.signal.removeEventListener("abort", end);
        onEvent({ kind: "session-closed", address, ...(error === undefined ? {} : { error: ZoneError.from(error) }) });
      });
      new Keepalive(session, keepalive, () => session.destroy());
      onEvent({ kind: "session-opened", address, version, zoneId });
    },
  };

  const ports: Promise<void>[] = [];
  const listeners = addresses.map(async (address): Promise<Listener | undefined> => {
    switch (address.kind) {
      case "serial":
        ports.push(servePort(address, openPort, serving));
        return undefined;
      case "unix":
        return listenUnix(address.path, (socket) => serveConnection(socket, address, serving));
      case "vsock":
        return listenVsock(
          address.port,
          (socket) => serveConnection(socket, address, serving),
          (peer) => onEvent({ kind: "peer-rejected", address, peer }),
        );
    }
  });
  return {
    ready: Promise.all(listeners).then(() => {}),
    close: async () => {
      abort.abort();
      const settled = await Promise.allSettled(listeners);
      await Promise.all(settled.map((one) => (one.status === "fulfilled" ? one.value?.close() : undefined)));
      await Promise.all(ports);
    },
  };
}
