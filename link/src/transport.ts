import type { Duplex } from "node:stream";
import { linkError } from "./errors.js";
import { connectHvsock } from "./transports/hvsock.js";
import { connectUnix } from "./transports/unix.js";
import { connectVsock } from "./transports/vsock.js";
import { formatLinkUri, type LinkAddress } from "./uri.js";

export interface TransportOptions {
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
}

/**
 * Host side: a raw byte stream to the agent. Rejects with UNAVAILABLE, PERMISSION_DENIED, DEADLINE_EXCEEDED, CANCELLED, or
 * UNIMPLEMENTED (vchan).
 */
export async function openTransport(address: LinkAddress, options: TransportOptions): Promise<Duplex> {
  const uri = formatLinkUri(address);
  const connect = { ...options, uri };
  switch (address.kind) {
    case "unix":
    case "serial": // QEMU: -chardev socket,path=PATH,server=on,wait=off
      return connectUnix(address.path, connect);
    case "hvsock":
      return connectHvsock(address.path, address.port, connect);
    case "vsock":
      return connectVsock(address.cid, address.port, connect);
    case "vchan":
      throw linkError("UNIMPLEMENTED", "TRANSPORT_UNSUPPORTED", `${uri}: this build has no vchan transport`, uri);
  }
}

/** True for a transport that carries one session at a time over a stream that outlives it. */
export function hasOneStream(address: LinkAddress): boolean {
  return address.kind === "serial" || address.kind === "vchan";
}
