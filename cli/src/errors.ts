import type { ZoneError } from "@zone/proto";
import { UsageError } from "./parse/usage-error.js";
import { printable } from "./text/printable.js";

/** Exit codes of zonectl's own; docker's. */
export const EXIT = { usage: 125, notExecutable: 126, notFound: 127, brokenPipe: 141 } as const;

/** An error that has already become an exit code: nothing (more) is to be said. */
export class QuietExit extends Error {
  constructor(readonly exitCode: number) {
    super(`exit ${exitCode}`);
  }
}

/** A failure with an exit code of its own: one line for stderr. */
export class CommandFailure extends Error {
  constructor(
    message: string,
    readonly exitCode: number = EXIT.usage,
  ) {
    super(message);
  }
}

/** What the user sees of an error. */
export interface Report {
  readonly exitCode: number;
  /** For stderr, without the newline; absent: nothing is said. */
  readonly line?: string;
  /** For --debug. */
  readonly details: readonly string[];
}

/** What zonectl adds to an error that it knows, by reason: what to do with zonectl, and exit codes other than 125. */
const KNOWN: Record<string, { advice?: string; exitCode?: number }> = {
  ZONE_UNKNOWN: { advice: "`zonectl ls -a` lists the zones" },
  IMAGE_UNKNOWN: { advice: "check its name, or `zonectl image ls`" },
  IMAGE_IN_USE: { advice: "remove the zones that use it first" },
  NAME_IN_USE: { advice: "choose another --name, or `zonectl rm` the zone that has it" },
  ZONE_RUNNING: { advice: "stop it first, or use `zonectl rm -f`" },
  ZONE_NOT_RUNNING: { advice: "`zonectl ls -a` shows its state" },
  ZONE_PAUSED: { advice: "`zonectl unpause` lets it go on" },
  NO_COMMAND: { advice: "give one after the image" },
  NO_HYPERVISOR: { advice: "`zonectl doctor` says what is missing" },
  NO_ZONE_IMAGE: { advice: "`zonectl doctor` says what is missing" },
  BOOT_FAILED: { advice: "`zonectl doctor` checks this host" },
  MEMORY_TOO_SMALL: { advice: "give more with --memory" },
  ZONE_UNREACHABLE: { advice: "try again, or see `zonectl logs --system`" },
  EXEC_NOT_FOUND: { exitCode: EXIT.notFound },
  EXEC_NOT_EXECUTABLE: { exitCode: EXIT.notExecutable },
};

/** Any thrown value as what the user sees: the one place where errors become a line and an exit code. */
export function report(thrown: unknown, bridgePath: string): Report {
  if (thrown instanceof QuietExit) return { exitCode: thrown.exitCode, details: [] };
  if (thrown instanceof CommandFailure) return { exitCode: thrown.exitCode, line: lineOf(thrown.message), details: [] };
  if (thrown instanceof UsageError) return { exitCode: EXIT.usage, line: lineOf(thrown.message), details: [] };
  if (isZoneError(thrown)) return zoneErrorReport(thrown, bridgePath);
  if (isSystemError(thrown) && thrown.code === "EPIPE") return { exitCode: EXIT.brokenPipe, details: [] };
  const error = thrown instanceof Error ? thrown : new Error(String(thrown));
  return { exitCode: EXIT.usage, line: lineOf(error.message), details: [error.stack ?? error.message] };
}

function zoneErrorReport(error: ZoneError, bridgePath: string): Report {
  const { advice, exitCode = EXIT.usage } = KNOWN[error.reason] ?? {};
  let message = error.message;
  if (error.domain === "grpc") message = transportMessage(error, bridgePath);
  // The peer's own advice, after a semicolon, comes first.
  else if (advice && !message.includes("; ")) message += `; ${advice}`;
  const details = [`code: ${error.code}`, `reason: ${error.domain}/${error.reason}`];
  if (error.resource) details.push(`resource: ${error.resource.type} ${error.resource.name}`);
  for (const [key, value] of Object.entries(error.metadata)) details.push(`${key}: ${value}`);
  return { exitCode, line: lineOf(message), details: details.map(printable) };
}

/** gRPC's own errors speak of channels and streams; here they speak of the bridge. */
function transportMessage(error: ZoneError, bridgePath: string): string {
  switch (error.code) {
    case "UNAVAILABLE":
      return `cannot reach the bridge at ${bridgePath}: ${error.message}; is zone-bridge running?`;
    case "DEADLINE_EXCEEDED":
      return `no answer from the bridge at ${bridgePath}: the time is over; try again, or see its log`;
    case "UNIMPLEMENTED":
      return `the bridge at ${bridgePath} does not know this call: it is older than this zonectl; restart it`;
    default:
      return `call to the bridge at ${bridgePath} failed: ${error.message}`;
  }
}

function lineOf(message: string): string {
  return `zonectl: ${printable(message.trim())}`;
}

// By name, so that what needs no bridge need not load gRPC.
function isZoneError(thrown: unknown): thrown is ZoneError {
  return thrown instanceof Error && thrown.name === "ZoneError";
}

function isSystemError(thrown: unknown): thrown is NodeJS.ErrnoException {
  return thrown instanceof Error && "code" in thrown && "syscall" in thrown;
}
