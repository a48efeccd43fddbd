import type * as grpc from "@grpc/grpc-js";
import { bridgeError } from "../errors.js";
import type { PortMapping } from "./network-spec.js";
import { quote } from "./spec-error.js";

/** Ports below are the host's own services'; ip(7). */
const FIRST_UNPRIVILEGED_PORT = 1024;

/** Where connections to published ports go. */
export interface PortTarget {
  /** A client of the zone's agent, for one connection; rejects when there is none. */
  client(signal: AbortSignal): Promise<grpc.Client>;
  /** The zone's own address; undefined when it has no network. Asked for when there is a client. */
  address(): string | undefined;
  /** The container whose sockets `zone_path` names; "" without one. */
  containerId: string;
}

/** Published ports, listening. */
export interface OpenPorts {
  /** As asked for, with the host ports chosen. */
  readonly ports: readonly PortMapping[];
  /** Listens no more, and ends the connections. Idempotent. */
  close(): Promise<void>;
}

/** Opens all of them or none. PORT_IN_USE; INVALID_PORT for an address that is not this host's. */
export type PortOpener = (ports: readonly PortMapping[], target: PortTarget) => Promise<OpenPorts>;

/** For bridges that publish nothing. */
export const noPorts: PortOpener = async (ports) => {
  if (ports.length > 0) throw bridgeError("INVALID_ARGUMENT", "INVALID_PORT", "this bridge publishes no ports");
  return { ports: [], close: async () => {} };
};

/** SOURCE_DENIED for what the bridge could do on the host and the caller could not. */
export function checkPortRights(ports: readonly PortMapping[], caller: { admin: boolean }): void {
  if (caller.admin) return;
  for (const { hostPath, hostPort } of ports) {
    if (!hostPath && (!hostPort || hostPort >= FIRST_UNPRIVILEGED_PORT)) continue;
    const what = hostPath ? `the socket ${quote(hostPath)}` : `port ${hostPort}`;
    const rule = `only root, and the user that zone-bridge runs as, may make sockets' files or use ports below ${FIRST_UNPRIVILEGED_PORT}`;
    throw bridgeError("PERMISSION_DENIED", "SOURCE_DENIED", `nothing can be published at ${what}: ${rule}`);
  }
}
