import { invalid } from "../errors.js";

/** Docker's default search path. */
export const DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

const EQUALS = "=".charCodeAt(0);

/** Checks "NAME=value" entries: bytes with a name and no NUL. Throws INVALID_ENV, which does not quote the value. */
export function checkEnvironment(env: readonly Uint8Array[]): void {
  for (const [index, entry] of env.entries()) {
    const equals = entry.indexOf(EQUALS);
    if (equals < 1) throw invalid("INVALID_ENV", `environment entry ${index} is not of the form NAME=value`);
    if (entry.includes(0)) throw invalid("INVALID_ENV", `environment entry ${index} holds a NUL byte`);
  }
}

/** The environment of a process: of each name the last value, then PATH and HOME where they are absent. */
export function environment(env: readonly Uint8Array[], home: string): Uint8Array[] {
  const byName = new Map<string, Uint8Array>();
  for (const entry of env) byName.set(nameOf(entry), entry);
  if (!byName.has("PATH")) byName.set("PATH", Buffer.from(`PATH=${DEFAULT_PATH}`));
  if (!byName.has("HOME")) byName.set("HOME", Buffer.from(`HOME=${home}`));
  return [...byName.values()];
}

function nameOf(entry: Uint8Array): string {
  return Buffer.from(entry.buffer, entry.byteOffset, entry.indexOf(EQUALS)).toString("latin1");
}
