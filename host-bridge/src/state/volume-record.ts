import { bridgeError } from "../errors.js";

/** What the bridge keeps of a volume; its content is in a file of its own. */
export interface VolumeRecord {
  readonly name: string;
  /** Who may use it beside root. */
  readonly ownerUid: number;
  /** Of its file; a multiple of 1 MiB. */
  readonly sizeBytes: number;
  /** Milliseconds since 1970. */
  readonly createdAt: number;
  readonly labels: Readonly<Record<string, string>>;
  /** Its file system is still smaller than its file: to be grown when it is next mounted. */
  readonly grown?: boolean;
}

/** The record in JSON text. Throws STATE_DAMAGED when it is none. */
export function decodeVolume(key: string, text: string): VolumeRecord {
  try {
    const stored = JSON.parse(text) as VolumeRecord;
    const { name, ownerUid, sizeBytes, createdAt } = stored;
    if (typeof name !== "string" || ![ownerUid, sizeBytes, createdAt].every(Number.isSafeInteger)) {
      throw new TypeError("it has no name, owner, size or time");
    }
    return stored;
  } catch (cause) {
    const message = `the stored record ${key} cannot be read: ${String(cause)}`;
    throw bridgeError("DATA_LOSS", "STATE_DAMAGED", message, undefined, cause);
  }
}
