import type { ZoneError } from "@zone/proto";
import { bridgeError } from "../errors.js";

const MIB = 1024 * 1024;
const MAX_QUOTED = 80;

/** An INVALID_ARGUMENT of zones.proto. The message is for people: what is wrong with what, and what to give instead. */
export function invalid(reason: string, message: string): ZoneError {
  return bridgeError("INVALID_ARGUMENT", reason, message);
}

/** What a client has sent, fit for a message of one line. */
export function quote(text: string): string {
  return JSON.stringify(text.length > MAX_QUOTED ? `${text.slice(0, MAX_QUOTED - 3)}...` : text);
}

/** Whole MiB, rounded down. */
export function inMib(bytes: number): number {
  return Math.floor(bytes / MIB);
}

/** Throws `reason` when a list has more than `most` entries. */
export function checkCount(reason: string, what: string, list: readonly unknown[] | null | undefined, most: number) {
  const count = list?.length ?? 0;
  if (count > most) throw invalid(reason, `${count} ${what} are too many: give at most ${most}`);
}
