import { type Code, ZoneError } from "@zone/proto";
import { TarError } from "@zone/tar";

export { shown } from "@zone/tar";

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

/** What the tar reader refuses, as IMAGE_REFUSED; other errors come back as they are. */
export function asRefusal(error: unknown): unknown {
  return error instanceof TarError ? imageError("IMAGE_REFUSED", error.message, error) : error;
}

/** The same error with where it happened said first: `layer 2 of 3: entry "a/b": ...`. Other errors come back as they are. */
export function within(place: string, thrown: unknown): unknown {
  const error = asRefusal(thrown);
  if (!(error instanceof ZoneError)) return error;
  const { code, reason, domain, message, resource, metadata } = error;
  const init = { code, reason, domain, message: `${place}: ${message}`, metadata, cause: error };
  return new ZoneError(resource ? { ...init, resource } : init);
}

/** Text with control and format characters (terminal escapes, line breaks, direction marks) replaced. */
export function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, "?");
}
