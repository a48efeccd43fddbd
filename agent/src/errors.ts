import { type Code, ZoneError, type ZoneErrorInit } from "@zone/proto";

/** A ZoneError of the agent's own: domain "zone.agent"; the .proto files list the reasons. */
export function agentError(
  code: Code,
  reason: string,
  message: string,
  more: Pick<ZoneErrorInit, "resource" | "metadata" | "cause"> = {},
): ZoneError {
  return new ZoneError({ code, reason, message, domain: "zone.agent", ...more });
}

/** INVALID_ARGUMENT with `reason`. */
export function invalid(reason: string, message: string): ZoneError {
  return agentError("INVALID_ARGUMENT", reason, message);
}

/** The errno name ("ENOENT") of a failed system call, or undefined when `thrown` is none. */
export function errnoOf(thrown: unknown): string | undefined {
  return thrown instanceof Error && "code" in thrown && typeof thrown.code === "string" ? thrown.code : undefined;
}

/** One line about any thrown value, for logs. */
export function describe(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
