/** An archive that cannot be read: broken, or more than its reader takes. The message says what is wrong with it. */
export class TarError extends Error {
  override readonly name = "TarError";
}

/** Throws TarError. */
export function refuse(message: string): never {
  throw new TarError(message);
}

const SHOWN = 200;

/** A stranger's bytes (a string with one character a byte) for a message: quoted, printable, bounded. */
export function shown(bytes: string): string {
  const text = Buffer.from(bytes, "latin1").toString("utf8");
  const quoted = JSON.stringify(text.length > SHOWN ? `${text.slice(0, SHOWN)}...` : text);
  return quoted.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, "?");
}
