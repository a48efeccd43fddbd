import type { StatusObject } from "@grpc/grpc-js";
import { type Code, ZoneError } from "@zone/proto";

/** An error of the bridge's own, as zone/bridge/v1/zones.proto lists them. */
export function bridgeError(
  code: Code,
  reason: string,
  message: string,
  resource?: { type: string; name: string },
  cause?: unknown,
): ZoneError {
  return new ZoneError({ code, reason, message, domain: "zone.bridge", ...(resource && { resource }), cause });
}

/** Most characters of a status message: percent-encoded it must fit into a header block. */
const MAX_DETAILS = 2048;

/**
 * A status as it can be sent: grpc-js throws when it is to encode half of a surrogate pair, which a client or a zone can bring
 * about with malformed UTF-8.
 */
export function sendable(status: StatusObject): StatusObject {
  return { ...status, details: Buffer.from(status.details.slice(0, MAX_DETAILS)).toString() };
}

/** One line about any thrown value, for messages and logs. */
export function errorMessage(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
