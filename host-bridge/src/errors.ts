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

/** One line about any thrown value, for messages and logs. */
export function errorMessage(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
