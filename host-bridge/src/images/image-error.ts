import { type Code, ZoneError } from "@zone/proto";

const CODES = {
  INVALID_IMAGE: "INVALID_ARGUMENT",
  IMAGE_UNKNOWN: "NOT_FOUND",
  IMAGE_REFUSED: "FAILED_PRECONDITION",
  REGISTRY_UNREACHABLE: "UNAVAILABLE",
  REGISTRY_DENIED: "PERMISSION_DENIED",
  DISK_FULL: "RESOURCE_EXHAUSTED",
  SKOPEO_MISSING: "FAILED_PRECONDITION",
  CANCELLED: "CANCELLED",
} as const satisfies Record<string, Code>;

/** Why an image could not be had; zones.proto says what each means. */
export type ImageReason = keyof typeof CODES;

/** An error about an image; `message` names what, why and what to do. */
export function imageError(reason: ImageReason, message: string, cause?: unknown): ZoneError {
  return new ZoneError({ code: CODES[reason], reason, domain: "zone.bridge", message, cause });
}

/** Throws IMAGE_REFUSED: the image is malicious, broken, or more than this host takes. */
export function refuse(message: string): never {
  throw imageError("IMAGE_REFUSED", message);
}

/** The same error with where it happened said first: `layer 2 of 3: entry "a/b": ...`. Other errors come back as they are. */
export function within(place: string, error: unknown): unknown {
  if (!(error instanceof ZoneError)) return error;
  const { code, reason, domain, message, resource, metadata } = error;
  const init = { code, reason, domain, message: `${place}: ${message}`, metadata, cause: error };
  return new ZoneError(resource ? { ...init, resource } : init);
}

const SHOWN = 200;

/** A stranger's bytes (a string with one character a byte) for a message: quoted, printable, bounded. */
export function shown(bytes: string): string {
  const text = Buffer.from(bytes, "latin1").toString("utf8");
  return printable(JSON.stringify(text.length > SHOWN ? `${text.slice(0, SHOWN)}...` : text));
}

/** Text with control and format characters (terminal escapes, line breaks, direction marks) replaced. */
export function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, "?");
}
