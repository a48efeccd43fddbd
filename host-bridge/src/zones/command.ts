import type { ImageConfig } from "../images/image-store.js";

/** Bytes that need not be text: arguments and environment. */
export type Bytes = Uint8Array;

/**
 * What is run, by Docker's rules: an entrypoint in the request replaces the image's and drops the image's cmd; a command
 * in the request replaces the image's cmd. Empty when neither has anything.
 */
export function commandOf(
  image: ImageConfig,
  entrypoint: readonly Bytes[] | undefined,
  command: readonly Bytes[],
): Bytes[] {
  const first = entrypoint ?? image.entrypoint.map(utf8);
  const rest = command.length > 0 || entrypoint ? command : image.cmd.map(utf8);
  return [...first, ...rest];
}

/**
 * The environment of the main process, by Docker's rules: HOSTNAME, TERM with a tty, the image's, the request's. The last of
 * a name wins and keeps the place of the first. PATH and HOME are the agent's to add.
 */
export function environmentOf(image: ImageConfig, request: readonly Bytes[], hostname: string, tty: boolean): Bytes[] {
  const all = [utf8(`HOSTNAME=${hostname}`), ...(tty ? [utf8("TERM=xterm")] : []), ...image.env.map(utf8), ...request];
  const byName = new Map<string, Bytes>();
  for (const entry of all) byName.set(nameOf(entry) ?? "", entry);
  return [...byName.values()];
}

/** The name in "NAME=value", byte for byte; undefined when there is none. */
export function nameOf(entry: Bytes): string | undefined {
  const equals = entry.indexOf(0x3d);
  return equals > 0 ? Buffer.from(entry.subarray(0, equals)).toString("latin1") : undefined;
}

/** Most bytes of one argument or variable that execve(2) takes: MAX_ARG_STRLEN, with its NUL. */
export const MAX_STRING_BYTES = 128 * 1024;

function utf8(text: string): Bytes {
  return Buffer.from(text, "utf8");
}
