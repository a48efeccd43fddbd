import { type Code, ZoneError } from "@zone/proto";

/** Reasons of the errors of links, as ZoneError.reason; the domain is "zone.link". */
export type LinkErrorReason =
  | "LINK_URI_INVALID"
  | "TRANSPORT_UNSUPPORTED"
  | "TRANSPORT_UNREACHABLE"
  | "TRANSPORT_REFUSED"
  | "HANDSHAKE_TIMEOUT"
  | "HANDSHAKE_GARBAGE"
  | "VERSION_MISMATCH"
  | "ZONE_MISMATCH"
  | "LINK_LOST"
  | "LINK_CLOSED"
  | "LINK_NOT_READY"
  | "KEEPALIVE_TIMEOUT"
  | "PEER_RESTARTED"
  | "CANCELLED";

/** A ZoneError of this package: `code` says what a caller can do, `reason` what happened, `message` on what, why and what to do. */
export function linkError(
  code: Code,
  reason: LinkErrorReason,
  message: string,
  uri?: string,
  cause?: unknown,
): ZoneError {
  return new ZoneError({
    code,
    reason,
    domain: "zone.link",
    message,
    ...(uri === undefined ? {} : { resource: { type: "link", name: uri } }),
    ...(cause === undefined ? {} : { cause }),
  });
}

/** The error of an aborted signal. */
export function cancelled(what: string, signal: AbortSignal): ZoneError {
  return linkError("CANCELLED", "CANCELLED", `${what} was cancelled`, undefined, signal.reason);
}

/** What an unknown thrown value says. */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
