import { constants } from "node:os";
import { UsageError } from "./usage-error.js";

/** Linux's real-time signals as glibc numbers them: signal(7). */
const RTMIN = 34;
const RTMAX = 64;

/** A signal's number, 1 to 64, from "SIGTERM", "term", "15", "SIGRTMIN+3", "RTMAX-1". */
export function parseSignal(text: string): number {
  const number = /^\d+$/.test(text) ? Number(text) : byName(text.toUpperCase().replace(/^SIG/, ""));
  if (number < 1 || number > RTMAX)
    throw new UsageError(`invalid signal '${text}': give a name such as TERM, or a number from 1 to 64`);
  return number;
}

function byName(name: string): number {
  const realTime = /^RT(?:(MIN)(?:\+(\d{1,2}))?|(MAX)(?:-(\d{1,2}))?)$/.exec(name);
  if (realTime) {
    const number = realTime[1] ? RTMIN + Number(realTime[2] ?? 0) : RTMAX - Number(realTime[4] ?? 0);
    return number >= RTMIN && number <= RTMAX ? number : 0;
  }
  return (constants.signals as Record<string, number>)[`SIG${name}`] ?? 0;
}
