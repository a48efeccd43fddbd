import { UsageError } from "./usage-error.js";

/** Environment entries, by name, as bytes: values need not be text. */
export type Environment = ReadonlyMap<string, Buffer>;

/** NUL-separated "NAME=value" bytes, as in /proc/self/environ. */
export function parseEnviron(bytes: Buffer): Environment {
  const entries = new Map<string, Buffer>();
  for (const entry of split(bytes, 0)) {
    const equals = entry.indexOf("=");
    if (equals > 0) entries.set(entry.toString("utf8", 0, equals), entry.subarray(equals + 1));
  }
  return entries;
}

/**
 * One `-e` argument as "NAME=value". A bare NAME takes its value from `own`, and gives nothing when it has none there, as in
 * docker.
 */
export function envArgument(argument: Buffer, own: Environment): Buffer | undefined {
  const equals = argument.indexOf("=");
  const name = argument.toString("utf8", 0, equals < 0 ? argument.length : equals);
  if (name === "") throw new UsageError(`invalid environment variable '${argument}': give NAME=value, or NAME`);
  if (equals > 0) return argument;
  const value = own.get(name);
  return value && Buffer.concat([Buffer.from(`${name}=`), value]);
}

/**
 * The entries of an env file, in docker's format: NAME=value or NAME a line; blank lines and lines that begin with # are
 * left out; nothing is unquoted; leading blanks and a byte order mark are skipped.
 */
export function parseEnvFile(contents: Buffer, path: string, own: Environment): Buffer[] {
  const entries: Buffer[] = [];
  for (const [index, raw] of split(stripMark(contents), 0x0a).entries()) {
    const line = trimStart(raw.at(-1) === 0x0d ? raw.subarray(0, -1) : raw);
    if (line.length === 0 || line[0] === 0x23) continue;
    const name = line.subarray(0, line.indexOf("=") < 0 ? line.length : line.indexOf("=")).toString();
    if (name === "" || /\s/.test(name)) {
      throw new UsageError(
        `invalid line ${index + 1} in ${path}: '${name}' is not a variable's name; write NAME=value`,
      );
    }
    if (line.includes(0)) throw new UsageError(`invalid line ${index + 1} in ${path}: it holds a NUL byte`);
    const entry = envArgument(line, own);
    if (entry) entries.push(entry);
  }
  return entries;
}

/** Later entries replace earlier ones of the same name, which keep their place. */
export function mergeEnv(...layers: readonly (readonly Uint8Array[])[]): Buffer[] {
  const merged = new Map<string, Buffer>();
  for (const entry of layers.flat()) {
    const bytes = Buffer.from(entry);
    const equals = bytes.indexOf("=");
    merged.set(bytes.toString("latin1", 0, equals < 0 ? bytes.length : equals), bytes);
  }
  return [...merged.values()];
}

function split(bytes: Buffer, separator: number): Buffer[] {
  const parts: Buffer[] = [];
  let start = 0;
  while (start < bytes.length) {
    const end = bytes.indexOf(separator, start);
    parts.push(bytes.subarray(start, end < 0 ? bytes.length : end));
    if (end < 0) break;
    start = end + 1;
  }
  return parts;
}

function stripMark(bytes: Buffer): Buffer {
  return bytes.subarray(0, 3).equals(Buffer.from([0xef, 0xbb, 0xbf])) ? bytes.subarray(3) : bytes;
}

function trimStart(line: Buffer): Buffer {
  let start = 0;
  while (line[start] === 0x20 || line[start] === 0x09) start++;
  return line.subarray(start);
}
