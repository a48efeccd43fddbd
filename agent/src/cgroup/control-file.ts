import { closeSync, openSync, readSync } from "node:fs";
import { join } from "node:path";
import { errnoOf } from "../errors.js";
import { CGROUP_LIMITS } from "./limits.js";

/**
 * The forms of the files in a cgroup; Documentation/admin-guide/cgroup-v2.rst, "Format". A file that the kernel does not have,
 * because it is old or a controller is off, reads as undefined.
 */

/** The text of a cgroup's file; undefined when there is none. */
export function readControl(folder: string, file: string): string | undefined {
  let fd: number;
  try {
    fd = openSync(join(folder, file), "r");
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw error;
  }
  try {
    const buffer = Buffer.allocUnsafe(CGROUP_LIMITS.fileBytes);
    let length = 0;
    for (;;) {
      const read = readSync(fd, buffer, length, buffer.length - length, null);
      length += read;
      if (read === 0 || length === buffer.length) return buffer.toString("latin1", 0, length).trimEnd();
    }
  } catch (error) {
    // ENODEV: the cgroup was removed while it was open. EOPNOTSUPP: pressure files of a kernel that was told "psi=0".
    if (errnoOf(error) === "ENODEV" || errnoOf(error) === "EOPNOTSUPP") return undefined;
    throw error;
  } finally {
    closeSync(fd);
  }
}

/** A single value; "max" and what is not there are undefined. */
export function readNumber(folder: string, file: string): number | undefined {
  return parseNumber(readControl(folder, file));
}

export function parseNumber(text: string | undefined): number | undefined {
  return text !== undefined && /^\d+$/.test(text) ? Number(text) : undefined;
}

/** "KEY VALUE" lines. */
export function parseFlat(text: string | undefined): ReadonlyMap<string, number> {
  const values = new Map<string, number>();
  for (const line of (text ?? "").split("\n")) {
    const [key, value] = line.split(" ");
    const number = parseNumber(value);
    if (key && number !== undefined) values.set(key, number);
  }
  return values;
}

export function readFlat(folder: string, file: string): ReadonlyMap<string, number> {
  return parseFlat(readControl(folder, file));
}

/** "KEY SUB=VALUE SUB=VALUE..." lines, values as text. */
export function parseNested(text: string | undefined): ReadonlyMap<string, ReadonlyMap<string, string>> {
  const outer = new Map<string, Map<string, string>>();
  for (const line of (text ?? "").split("\n")) {
    const [key, ...pairs] = line.split(" ");
    if (!key) continue;
    const inner = new Map<string, string>();
    for (const pair of pairs) {
      const at = pair.indexOf("=");
      if (at > 0) inner.set(pair.slice(0, at), pair.slice(at + 1));
    }
    outer.set(key, inner);
  }
  return outer;
}
