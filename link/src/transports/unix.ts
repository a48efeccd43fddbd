import { chmodSync, unlinkSync } from "node:fs";
import * as net from "node:net";
import type { ZoneError } from "@zone/proto";
import { cancelled, linkError, messageOf } from "../errors.js";

export interface ConnectOptions {
  /** For messages. */
  readonly uri: string;
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
}

/** Connects to a Unix stream socket; half-open, so that the peer's end does not end our direction. */
export function connectUnix(path: string, options: ConnectOptions): Promise<net.Socket> {
  const { uri, timeoutMs, signal } = options;
  if (signal?.aborted) return Promise.reject(cancelled(`connecting to ${uri}`, signal));
  return new Promise((resolve, reject) => {
    const socket = net.connect({ path, allowHalfOpen: true });
    const settle = (error?: ZoneError) => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
      socket.off("error", onError);
      socket.off("connect", onConnect);
      if (error) {
        socket.destroy();
        reject(error);
      } else resolve(socket);
    };
    const onConnect = () => settle();
    const onError = (error: Error) => settle(unreachable(uri, error));
    const onAbort = () => settle(signal && cancelled(`connecting to ${uri}`, signal));
    const timer = setTimeout(() => settle(timedOut(uri, timeoutMs)), timeoutMs);
    signal?.addEventListener("abort", onAbort, { once: true });
    socket.once("connect", onConnect);
    socket.once("error", onError);
  });
}

export interface Listener {
  close(): Promise<void>;
}

/** Listens on a Unix socket, mode 0600; the socket file of a listener that has died is replaced. Rejects with what listen(2) says. */
export async function listenUnix(path: string, onConnection: (socket: net.Socket) => void): Promise<Listener> {
  try {
    return await bind(path, onConnection);
  } catch (error) {
    if (codeOf(error) !== "EADDRINUSE" || (await isAlive(path))) throw error;
    unlinkSync(path);
    return bind(path, onConnection);
  }
}

function bind(path: string, onConnection: (socket: net.Socket) => void): Promise<Listener> {
  return new Promise((resolve, reject) => {
    const server = net.createServer({ allowHalfOpen: true }, onConnection);
    server.once("error", reject);
    server.listen(path, () => {
      chmodSync(path, 0o600);
      resolve({ close: () => new Promise((done) => server.close(() => done())) });
    });
  });
}

/** False when a connection is refused: nobody listens on the socket file. */
async function isAlive(path: string): Promise<boolean> {
  try {
    (await connectUnix(path, { uri: `unix:${path}`, timeoutMs: 1000 })).destroy();
    return true;
  } catch (error) {
    return codeOf(error instanceof Error ? error.cause : error) !== "ECONNREFUSED";
  }
}

export function codeOf(error: unknown): unknown {
  return error instanceof Error && "code" in error ? error.code : undefined;
}

export function unreachable(uri: string, error: unknown): ZoneError {
  const denied = codeOf(error) === "EACCES" || codeOf(error) === "EPERM";
  return linkError(
    denied ? "PERMISSION_DENIED" : "UNAVAILABLE",
    "TRANSPORT_UNREACHABLE",
    `cannot connect to ${uri}: ${messageOf(error)}`,
    uri,
    error,
  );
}

export function timedOut(uri: string, timeoutMs: number): ZoneError {
  return linkError(
    "DEADLINE_EXCEEDED",
    "TRANSPORT_UNREACHABLE",
    `cannot connect to ${uri}: no answer within ${timeoutMs} ms`,
    uri,
  );
}
