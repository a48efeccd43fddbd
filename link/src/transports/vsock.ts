import type { Socket } from "node:net";
import { vsock } from "@zone/native";
import { cancelled } from "../errors.js";
import { type ConnectOptions, codeOf, type Listener, timedOut, unreachable } from "./unix.js";

/** VMADDR_CID_HYPERVISOR, vsock(7): the other side of a Xen-like hypervisor's own transport. */
const HYPERVISOR_CID = 0;

/** Connects to a guest's vsock port, vsock(7). */
export async function connectVsock(cid: number, port: number, options: ConnectOptions): Promise<Socket> {
  const { uri, timeoutMs, signal } = options;
  try {
    return await vsock.connect({ cid, port, timeoutMs, ...(signal ? { signal } : {}) });
  } catch (error) {
    if (signal?.aborted) throw cancelled(`connecting to ${uri}`, signal);
    throw codeOf(error) === "ETIMEDOUT" ? timedOut(uri, timeoutMs) : unreachable(uri, error);
  }
}

/** True for the host. Whoever else can reach the port is in the zone (CID 1, or the zone's own), and must not talk to its agent. */
export function isHost(cid: number): boolean {
  return cid === vsock.HOST_CID || cid === HYPERVISOR_CID;
}

/** Listens on a vsock port for the host; others are closed, and told to `onRejected`. Throws what the system calls say. */
export function listenVsock(
  port: number,
  onConnection: (socket: Socket) => void,
  onRejected: (peer: { cid: number; port: number }) => void,
): Listener {
  const listener = vsock.listen({ port }, (socket, peer) => {
    if (isHost(peer.cid)) {
      onConnection(socket);
    } else {
      socket.destroy();
      onRejected(peer);
    }
  });
  return { close: async () => listener.close() };
}
