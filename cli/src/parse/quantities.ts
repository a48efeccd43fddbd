import { UsageError } from "./usage-error.js";

const SIZE_UNITS: Record<string, number> = { "": 1, b: 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30, t: 2 ** 40 };

/** Bytes from docker's notation: "512m", "1.5g", "64MiB", "1048576". Units are powers of 1024. */
export function parseMemory(text: string): number {
  const match = /^(\d+(?:\.\d+)?) ?(?:([kmgt])(?:i?b)?|(b))?$/i.exec(text);
  const unit = SIZE_UNITS[(match?.[2] ?? match?.[3] ?? "").toLowerCase()];
  const bytes = match && unit ? Math.floor(Number(match[1]) * unit) : 0;
  if (bytes < 1 || bytes > Number.MAX_SAFE_INTEGER) {
    throw new UsageError(`invalid memory size '${text}': give a number with b, k, m or g, such as 512m`);
  }
  return bytes;
}

/** Thousandths of a cpu from "1.5". */
export function parseCpus(text: string): number {
  const millis = /^(\d+(\.\d*)?|\.\d+)$/.test(text) ? Math.round(Number(text) * 1000) : 0;
  if (millis < 1 || millis > 1_024_000) {
    throw new UsageError(`invalid number of cpus '${text}': give a number from 0.001 to 1024, such as 1.5`);
  }
  return millis;
}

const TIME_UNITS: Record<string, number> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };

/** Milliseconds from seconds ("10", "0.5") or a duration ("500ms", "1m30s"); at most a year. */
export function parseDuration(text: string): number {
  let ms = Number.NaN;
  if (/^\d+(\.\d+)?$/.test(text)) ms = Number(text) * 1000;
  else if (/^(\d+(\.\d+)?(ms|[smh]))+$/.test(text)) {
    ms = 0;
    for (const [, count, , unit] of text.matchAll(/(\d+(\.\d+)?)(ms|[smh])/g))
      ms += Number(count) * (TIME_UNITS[unit ?? ""] ?? 0);
  }
  if (!(ms <= 365 * 86_400_000))
    throw new UsageError(`invalid time '${text}': give seconds, or a duration such as 1m30s`);
  return Math.round(ms);
}

/** A count of lines: a number, or "all" (undefined). */
export function parseTail(text: string): number | undefined {
  if (text === "all") return undefined;
  const lines = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (!(lines <= 0xffff_ffff)) throw new UsageError(`invalid number of lines '${text}': give a number, or all`);
  return lines;
}
