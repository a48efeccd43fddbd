import { refuse } from "./tar-error.js";

/** Extended header records by key; values are bytes (SCHILY.xattr.* are binary, and paths need not be UTF-8). */
export type PaxRecords = Map<string, Buffer>;

const LENGTH_DIGITS = 8;

/** Decodes `LENGTH KEY=VALUE\n` records (pax, POSIX.1-2001). A later record replaces an earlier one; an empty value removes it. */
export function decodePax(bytes: Buffer): PaxRecords {
  const records: PaxRecords = new Map();
  for (let at = 0; at < bytes.length; ) {
    const space = bytes.indexOf(0x20, at);
    const digits = space < 0 || space - at > LENGTH_DIGITS ? "" : bytes.toString("latin1", at, space);
    if (!/^[1-9][0-9]*$/.test(digits)) refuse("an extended header has a record without a length");
    const end = at + Number(digits);
    const equals = bytes.indexOf(0x3d, space);
    if (end > bytes.length || bytes[end - 1] !== 0x0a || equals <= space + 1 || equals >= end) {
      refuse("an extended header has a malformed record");
    }
    const key = bytes.toString("latin1", space + 1, equals);
    const value = bytes.subarray(equals + 1, end - 1);
    if (value.length === 0 && !key.startsWith(XATTR_PREFIX)) records.delete(key);
    else records.set(key, Buffer.from(value));
    at = end;
  }
  return records;
}

export const XATTR_PREFIX = "SCHILY.xattr.";

/** A decimal record such as uid or size; undefined when absent. */
export function paxInteger(records: PaxRecords, key: string): number | undefined {
  const value = records.get(key)?.toString("latin1");
  if (value === undefined) return undefined;
  if (!/^[0-9]{1,16}$/.test(value) || !Number.isSafeInteger(Number(value)))
    refuse(`an extended header's ${key} is not a number`);
  return Number(value);
}

/** A time record, decimal seconds with a fraction, rounded down to nanoseconds; undefined when absent. */
export function paxTime(records: PaxRecords, key: string): { seconds: number; nanoseconds: number } | undefined {
  const value = records.get(key)?.toString("latin1");
  if (value === undefined) return undefined;
  const parts = /^(-?)([0-9]{1,15})(?:\.([0-9]*))?$/.exec(value);
  if (parts === null) refuse(`an extended header's ${key} is not a time`);
  const seconds = Number(parts[2]);
  const nanoseconds = Number((parts[3] ?? "").padEnd(9, "0").slice(0, 9));
  if (parts[1] === "") return { seconds, nanoseconds };
  return nanoseconds === 0
    ? { seconds: 0 - seconds, nanoseconds }
    : { seconds: -seconds - 1, nanoseconds: 1e9 - nanoseconds };
}

/** A string record with one character a byte; undefined when absent. A NUL in it would end it early for others: refused. */
export function paxText(records: PaxRecords, key: string): string | undefined {
  const value = records.get(key);
  if (value?.includes(0)) refuse(`an extended header's ${key} has a NUL byte`);
  return value?.toString("latin1");
}
