import { Buffer } from "node:buffer";
import type { zone } from "@zone/proto";
import { invalid } from "../../errors.js";
import { checkHost } from "../check.js";
import { NETWORK_LIMITS } from "../limits.js";

/** Where a Forward leads to. */
export type ForwardTarget =
  /** Tried in order. */
  | { kind: "tcp"; addresses: readonly string[]; port: number }
  /** Of a container's root, or, with "", the zone's. */
  | { kind: "unix"; containerId: string; path: string };

const LOOPBACKS = ["127.0.0.1", "::1"];

/** INVALID_ADDRESS, INVALID_TIME, OPEN_EXPECTED. */
export function checkOpen(open: zone.agent.v1.ForwardOpen.$Properties | null | undefined): {
  target: ForwardTarget;
  timeoutMs: number;
} {
  if (!open) throw invalid("OPEN_EXPECTED", "the first message of a Forward must be `open`");
  const { default: usual, max } = NETWORK_LIMITS.connectTimeoutMs;
  const timeoutMs = open.connectTimeoutMs || usual;
  if (timeoutMs > max) {
    throw invalid("INVALID_TIME", `connect_timeout_ms is ${timeoutMs}; at most ${max} are allowed`);
  }
  if (open.tcp) return { target: checkTcp(open.tcp), timeoutMs };
  if (open.unix) return { target: checkUnix(open.unix), timeoutMs };
  throw invalid("INVALID_ADDRESS", "`open` names no target: give `tcp` or `unix`");
}

function checkTcp({ address, port }: zone.agent.v1.TcpTarget.$Properties): ForwardTarget {
  if (!port || port > 65_535) throw invalid("INVALID_ADDRESS", `${port ?? 0} is not a TCP port: 1 to 65535`);
  if (!address) return { kind: "tcp", addresses: LOOPBACKS, port };
  checkHost("INVALID_ADDRESS", address);
  return { kind: "tcp", addresses: [address], port };
}

function checkUnix({ containerId, path }: zone.agent.v1.UnixTarget.$Properties): ForwardTarget {
  const { unixPathBytes } = NETWORK_LIMITS;
  if (!path?.startsWith("/") || path.includes("\0") || Buffer.byteLength(path) > unixPathBytes) {
    throw invalid("INVALID_ADDRESS", `a Unix socket's path must be absolute and at most ${unixPathBytes} bytes`);
  }
  return { kind: "unix", containerId: containerId ?? "", path };
}

/** For messages: "127.0.0.1:80", "/run/app.sock of container web". */
export function describeTarget(target: ForwardTarget): string {
  if (target.kind === "tcp") {
    const hosts = target.addresses.map((address) => (address.includes(":") ? `[${address}]` : address));
    return hosts.map((host) => `${host}:${target.port}`).join(" or ");
  }
  return target.containerId ? `${target.path} of container ${target.containerId}` : target.path;
}
