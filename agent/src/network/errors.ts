import type { ZoneError } from "@zone/proto";
import { agentError, describe, errnoOf, invalid } from "../errors.js";
import { NetlinkError } from "./netlink/route-socket.js";

/** Errnos that say that nothing leads to an address. */
const UNREACHABLE = new Set(["ENETUNREACH", "EHOSTUNREACH", "ENETDOWN", "EADDRNOTAVAIL", "EHOSTDOWN"]);

/** INVALID_ARGUMENT; what the caller gave is shown, cut short. */
export function invalidText(reason: string, text: string, what: string): ZoneError {
  return invalid(reason, `"${text.slice(0, 80)}" is not ${what}`);
}

/** `link` is a name or hardware address. */
export function unknownLink(link: string): ZoneError {
  const name = link.slice(0, 80);
  return agentError("NOT_FOUND", "LINK_UNKNOWN", `there is no link "${name}": ListLinks shows those that there are`, {
    resource: { type: "link", name },
  });
}

export function isUnreachable(error: unknown): boolean {
  return UNREACHABLE.has(errnoOf(error) ?? "");
}

export function unreachable(what: string, error: unknown): ZoneError {
  return agentError(
    "FAILED_PRECONDITION",
    "NETWORK_UNREACHABLE",
    `cannot ${what}: ${describe(error)}; nothing leads there, or the link is down`,
    { cause: error },
  );
}

/** Runs a request to the kernel; its refusal becomes the error of network.proto. `operation` is "add route 10.0.0.0/8"... */
export async function kernel<T>(operation: string, request: () => Promise<T>): Promise<T> {
  try {
    return await request();
  } catch (error) {
    throw refused(operation, error);
  }
}

function refused(operation: string, error: unknown): unknown {
  if (!(error instanceof NetlinkError)) return error;
  // The link has gone between the look at it and its use.
  if (error.code === "ENODEV") {
    return agentError("NOT_FOUND", "LINK_UNKNOWN", `cannot ${operation}: the link has gone`, { cause: error });
  }
  if (error.code === "ENETUNREACH" || error.code === "ENETDOWN" || error.code === "EHOSTUNREACH") {
    return unreachable(operation, error);
  }
  return agentError("INTERNAL", "NETLINK_FAILED", `cannot ${operation}: ${error.message}`, {
    metadata: { operation, errno: error.code },
    cause: error,
  });
}
