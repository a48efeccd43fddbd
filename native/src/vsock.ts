import type { Socket } from "node:net";
import { addon, POLL_READABLE, POLL_WRITABLE } from "./addon.js";
import { closeFd } from "./descriptors.js";
import { streamFromFd } from "./stream.js";

/** CID of the host as its guests see it. vsock(7). */
export const HOST_CID = 2;
/** CID of this machine itself, through vsock_loopback. */
export const LOCAL_CID = 1;

export interface VsockConnectOptions {
  cid: number;
  port: number;
  timeoutMs: number;
  signal?: AbortSignal;
}

/** Connects to a vsock address. Rejects with code ETIMEDOUT, or what connect(2) says; with the signal's reason when aborted. */
export async function connect(options: VsockConnectOptions): Promise<Socket> {
  const { cid, port, timeoutMs, signal } = options;
  signal?.throwIfAborted();
  const fd = addon().vsockSocket();
  try {
    if (!addon().vsockConnect(fd, cid, port)) await connected(fd, { cid, port, timeoutMs, signal });
  } catch (error) {
    closeFd(fd);
    throw error;
  }
  return streamFromFd(fd, { readable: true, writable: true });
}

function connected(fd: number, options: VsockConnectOptions): Promise<void> {
  const { cid, port, timeoutMs, signal } = options;
  return new Promise((resolve, reject) => {
    const finish = (settle: () => void) => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
      addon().pollStop(poll);
      settle();
    };
    const onAbort = () => finish(() => reject(signal?.reason));
    const onTimeout = () => {
      const error = new Error(`ETIMEDOUT: no answer from vsock:${cid}:${port} within ${timeoutMs} ms`);
      finish(() => reject(Object.assign(error, { code: "ETIMEDOUT", syscall: "connect" })));
    };
    // A failed connection may come as an error of the poll; the socket itself knows the reason.
    const poll = addon().pollStart(fd, POLL_WRITABLE, () => {
      try {
        addon().socketError(fd);
        finish(resolve);
      } catch (error) {
        finish(() => reject(error));
      }
    });
    const timer = setTimeout(onTimeout, timeoutMs);
    signal?.addEventListener("abort", onAbort, { once: true });
  });
}

export interface VsockListener {
  readonly port: number;
  /** Stops listening; connections that were accepted live on. */
  close(): void;
}

/** How long a listener rests after accept(2) has failed, e.g. for want of descriptors, rather than spin on it. */
const ACCEPT_REST_MS = 100;

/**
 * Listens on a port (0: any) of all CIDs of this machine. The caller judges the peer's CID and destroys what it does not
 * accept. `onError` gets what accept(2) says (EMFILE...); the listener goes on after a rest.
 */
export function listen(
  options: { port: number },
  onConnection: (socket: Socket, peer: { cid: number; port: number }) => void,
  onError: (error: unknown) => void = (error) => {
    throw error;
  },
): VsockListener {
  const fd = addon().vsockSocket();
  let port: number;
  try {
    port = addon().vsockListen(fd, options.port);
  } catch (error) {
    closeFd(fd);
    throw error;
  }
  let rest: NodeJS.Timeout | undefined;
  const accept = () => {
    let accepted: { socket: Socket; cid: number; port: number } | undefined;
    try {
      const peer = addon().vsockAccept(fd);
      if (peer) accepted = { ...peer, socket: streamFromFd(peer.fd, { readable: true, writable: true }) };
    } catch (error) {
      addon().pollUpdate(poll, 0);
      rest = setTimeout(() => addon().pollUpdate(poll, POLL_READABLE), ACCEPT_REST_MS);
      onError(error);
    }
    if (accepted) onConnection(accepted.socket, { cid: accepted.cid, port: accepted.port });
  };
  const poll = addon().pollStart(fd, POLL_READABLE, accept);
  let open = true;
  return {
    port,
    close() {
      if (!open) return;
      open = false;
      clearTimeout(rest);
      addon().pollStop(poll);
      closeFd(fd);
    },
  };
}

/** This machine's CID. IOCTL_VM_SOCKETS_GET_LOCAL_CID. */
export function localCid(): number {
  return addon().vsockLocalCid();
}
