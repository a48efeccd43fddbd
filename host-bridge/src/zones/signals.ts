import { constants } from "node:os";
import { bridgeError } from "../errors.js";

const BY_NAME = new Map<string, number>(Object.entries(constants.signals));
/** SIGRTMIN and SIGRTMAX as the zone's kernel counts them; signal(7). */
const REALTIME_MIN = 34;
const HIGHEST = 64;

/**
 * The number of a signal given by name ("SIGTERM", "term", "RTMIN+3") or number.
 * Throws INVALID_SIGNAL.
 */
export function parseSignal(text: string): number {
  const name = text.trim().toUpperCase().replace(/^SIG/, "");
  const realtime = /^RTMIN(?:\+(\d{1,2}))?$/.exec(name);
  const number = /^\d{1,2}$/.test(name)
    ? Number(name)
    : realtime
      ? REALTIME_MIN + Number(realtime[1] ?? 0)
      : BY_NAME.get(`SIG${name}`);
  if (number === undefined || number < 1 || number > HIGHEST) {
    const advice = `give a name such as SIGTERM, or a number from 1 to ${HIGHEST}`;
    throw bridgeError("INVALID_ARGUMENT", "INVALID_SIGNAL", `there is no signal "${text.slice(0, 40)}": ${advice}`);
  }
  return number;
}

/** The name of a signal's number, for messages. */
export function signalName(number: number): string {
  for (const [name, value] of BY_NAME) if (value === number) return name;
  return `signal ${number}`;
}
