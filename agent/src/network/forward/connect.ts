import { closeSync, constants, openSync } from "node:fs";
import { createConnection, type Socket, type TcpSocketConnectOpts } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { openInRoot } from "@zone/native";
import { resetSocket } from "@zone/proto";
import type { OpenRoot } from "../../container/open-root.js";
import { O_PATH } from "../../descriptors.js";
import { agentError, describe, errnoOf } from "../../errors.js";
import { isUnreachable, unreachable } from "../errors.js";
import { NETWORK_LIMITS } from "../limits.js";
import { describeTarget, type ForwardTarget } from "./target.js";

export interface ConnectOptions {
  /** CONTAINER_UNKNOWN. */
  rootOf(containerId: string): OpenRoot;
  timeoutMs: number;
  signal: AbortSignal;
}

/**
 * A connected socket, not read yet, half-open. CONNECTION_REFUSED, CONNECTION_TIMED_OUT, CONNECTION_RESET, NETWORK_UNREACHABLE,
 * CONTAINER_UNKNOWN, TOO_MANY_CONNECTIONS; the signal's reason when it is aborted.
 */
export async function connectTo(target: ForwardTarget, { rootOf, timeoutMs, signal }: ConnectOptions): Promise<Socket> {
  const timeout = AbortSignal.timeout(timeoutMs);
  const either = AbortSignal.any([timeout, signal]);
  try {
    if (target.kind === "unix") return await connectUnix(target, rootOf, either);
    return await connectTcp(target.addresses, target.port, either);
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    const where = describeTarget(target);
    throw timeout.aborted ? timedOut(where, `no answer within ${timeoutMs} ms`) : connectionError(where, error);
  }
}

/** The error of network.proto for one of a connection to `where`. */
export function connectionError(where: string, error: unknown): unknown {
  const failed = (reason: string, why: string) =>
    agentError("UNAVAILABLE", reason, `${where}: ${why}`, { resource: { type: "address", name: where }, cause: error });
  switch (errnoOf(error)) {
    case "ECONNREFUSED":
      return failed("CONNECTION_REFUSED", "nobody accepts connections there");
    case "ENOENT":
    case "ENOTDIR":
    case "ELOOP":
    case "EPROTOTYPE":
      return failed("CONNECTION_REFUSED", "there is no stream socket of that path");
    case "EACCES":
    case "EPERM":
      return failed("CONNECTION_REFUSED", `the zone's kernel does not let it: ${describe(error)}`);
    case "ETIMEDOUT":
      return timedOut(where, "the connection has timed out");
    case "ECONNRESET":
    case "EPIPE":
      return failed("CONNECTION_RESET", "the other side has reset the connection");
    case "EMFILE":
    case "ENFILE":
      return agentError("RESOURCE_EXHAUSTED", "TOO_MANY_CONNECTIONS", `${where}: the agent has no descriptor left`);
  }
  return isUnreachable(error) ? unreachable(`connect to ${where}`, error) : error;
}

function timedOut(where: string, why: string): Error {
  return agentError("UNAVAILABLE", "CONNECTION_TIMED_OUT", `${where}: ${why}`);
}

async function connectTcp(addresses: readonly string[], port: number, signal: AbortSignal): Promise<Socket> {
  let first: unknown;
  for (const host of addresses) {
    try {
      return await connected({ host, port, noDelay: true }, signal);
    } catch (error) {
      if (signal.aborted) throw error;
      first ??= error;
    }
  }
  throw first;
}

/** The path is resolved in the root, and what is found there is connected to: nothing can be put in its place meanwhile. */
async function connectUnix(
  { containerId, path }: { containerId: string; path: string },
  rootOf: ConnectOptions["rootOf"],
  signal: AbortSignal,
): Promise<Socket> {
  const root = containerId === "" ? openZoneRoot() : rootOf(containerId);
  let fd: number;
  try {
    fd = openInRoot(root.fd, path, O_PATH);
  } finally {
    root.close();
  }
  try {
    for (;;) {
      try {
        return await connected({ path: `/proc/self/fd/${fd}` }, signal);
      } catch (error) {
        if (errnoOf(error) !== "EAGAIN") throw error;
      }
      await delay(NETWORK_LIMITS.busySocketMs, undefined, { signal });
    }
  } finally {
    closeSync(fd);
  }
}

function openZoneRoot(): OpenRoot {
  const fd = openSync("/", O_PATH | constants.O_DIRECTORY);
  return { fd, close: () => closeSync(fd) };
}

function connected(where: TcpSocketConnectOpts | { path: string }, signal: AbortSignal): Promise<Socket> {
  signal.throwIfAborted();
  return new Promise((resolve, reject) => {
    const socket = createConnection({ ...where, allowHalfOpen: true });
    // Not read before somebody wants it: an end would be lost.
    socket.pause();
    const settle = (error?: unknown) => {
      signal.removeEventListener("abort", abort);
      socket.removeListener("error", settle);
      if (error === undefined) return resolve(socket);
      socket.on("error", () => {}); // it has failed already
      // The service may have accepted it already, and is not to take it for one that has ended.
      resetSocket(socket);
      reject(error);
    };
    const abort = () => settle(signal.reason);
    signal.addEventListener("abort", abort, { once: true });
    socket.once("error", settle);
    socket.once("connect", () => settle());
  });
}
