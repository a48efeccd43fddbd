import { bridgeError } from "../errors.js";

const MIB = 1024 * 1024;
export const DEFAULT_VOLUME_BYTES = 8 * 1024 * MIB;
export const MIN_VOLUME_BYTES = 16 * MIB;
/** What ext4 takes with 4 KiB blocks and 32-bit block numbers; ext4(5). */
export const MAX_VOLUME_BYTES = 16 * 1024 * 1024 * MIB - MIB;

/** A volume's size in whole MiB; INVALID_LIMIT. */
export function checkSize(bytes: number): number {
  if (bytes >= MIN_VOLUME_BYTES && bytes <= MAX_VOLUME_BYTES) return Math.ceil(bytes / MIB) * MIB;
  const message = `a volume cannot have ${bytes} bytes: give ${MIN_VOLUME_BYTES / MIB} MiB to 16 TiB`;
  throw bridgeError("INVALID_ARGUMENT", "INVALID_LIMIT", message);
}
