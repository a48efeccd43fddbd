import type { Socket } from "node:net";
import { addon } from "./addon.js";

/** CID of the host as its guests see it. vsock(7). */
export const HOST_CID = 2;
/** CID of this machine itself, through vsock_loopback. */
export const LOCAL_CID = 1;

/** Connects to a vsock address. Rejects with code ETIMEDOUT, or what connect(2) says; with the signal's reason when aborted. */
export function connect(options: {
  cid: number;
  port: number;
  timeoutMs: number;
  signal?: AbortSignal;
}): Promise<Socket> {
  return Promise.reject(new Error(`not yet: ${options.cid}`));
}

export interface VsockListener {
  readonly port: number;
  close(): void;
}

/** Listens on a port (0: any) of all CIDs of this machine. The caller judges the peer's CID and destroys what it does not accept. */
export function listen(
  options: { port: number },
  onConnection: (socket: Socket, peer: { cid: number; port: number }) => void,
): VsockListener {
  throw new Error(`not yet: ${options.port} ${typeof onConnection}`);
}

/** This machine's CID. IOCTL_VM_SOCKETS_GET_LOCAL_CID. */
export function localCid(): number {
  return addon().vsockLocalCid();
}
