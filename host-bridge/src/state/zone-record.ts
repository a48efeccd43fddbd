import { zone } from "@zone/proto";
import { bridgeError } from "../errors.js";
import { exactInteger } from "../numbers.js";
import type { Life } from "../zones/life.js";
import type { PortMapping } from "../zones/network-spec.js";
import type { ZoneSpec } from "../zones/spec.js";

type ProcessSpec = zone.agent.v1.ProcessSpec.$Properties;

/** What a zone said about itself when it had booted. */
export interface ZoneFacts {
  kernelRelease: string;
  agentVersion: string;
  machineId: string;
}

/** A volume that a zone has. */
export interface VolumeUse {
  readonly volume: string;
  /** In the container. */
  readonly target: string;
  readonly readOnly: boolean;
  /** Do not fill an empty volume with what the image has at the target. */
  readonly noCopy: boolean;
}

/** Everything that the bridge keeps of a zone. */
export interface ZoneRecord {
  /** 32 hexadecimal digits. */
  readonly id: string;
  readonly name: string;
  /** Who may use it beside root. */
  readonly ownerUid: number;
  /** As asked for, with defaults and the name filled in; as updated. Content of files is never in it. */
  readonly spec: ZoneSpec;
  /** The main process, from image and request together. */
  readonly main: ProcessSpec;
  /** The number of the signal that Stop sends. */
  readonly stopSignal: number;
  readonly imageDigest: string;
  /** Milliseconds since 1970. */
  readonly createdAt: number;
  readonly facts?: ZoneFacts;
  /** What it has since its start, and until its end. */
  readonly volumes?: readonly VolumeUse[];
  /** Published since its start, with the host ports chosen. */
  readonly ports?: readonly PortMapping[];
  /** As many as its domain has now. */
  readonly vcpus?: number;
  /** The kernel has killed its main process, or one of its container, for want of memory. */
  readonly oomKilled?: boolean;
  readonly life: Life;
}

/** The version of the JSON below. A later bridge converts what an earlier one wrote; the reverse is refused. */
export const SCHEMA_VERSION = 2;
/** The earliest whose records this bridge reads as they are: what they lack is optional. */
export const OLDEST_SCHEMA_VERSION = 1;

/** As it is stored: messages with bytes in them are kept in their own encoding, so that later fields survive too. */
type Stored = Omit<ZoneRecord, "spec" | "main"> & { spec: string; main: string };

/** A record as JSON text. */
export function encodeRecord(record: ZoneRecord): string {
  const spec = Buffer.from(zone.bridge.v1.ZoneSpec.encode(record.spec).finish()).toString("base64");
  const main = Buffer.from(zone.agent.v1.ProcessSpec.encode(record.main).finish()).toString("base64");
  return JSON.stringify({ ...record, spec, main } satisfies Stored);
}

/** The record in JSON text that encodeRecord made. Throws STATE_DAMAGED on anything else. */
export function decodeRecord(key: string, text: string): ZoneRecord {
  try {
    const stored = JSON.parse(text) as Stored;
    const spec = zone.bridge.v1.ZoneSpec.decode(Buffer.from(stored.spec, "base64"));
    const main = zone.agent.v1.ProcessSpec.decode(Buffer.from(stored.main, "base64"));
    if (typeof stored.id !== "string" || typeof stored.life.state !== "string")
      throw new TypeError("it has no id or state");
    return { ...stored, spec: { ...spec, memoryBytes: exactInteger(spec.memoryBytes) }, main };
  } catch (cause) {
    throw bridgeError(
      "DATA_LOSS",
      "STATE_DAMAGED",
      `the stored record ${key} cannot be read: ${String(cause)}`,
      undefined,
      cause,
    );
  }
}
