import { mkdir } from "node:fs/promises";
import { ClassicLevel } from "classic-level";
import { bridgeError, errorMessage } from "../errors.js";
import { decodeVolume, type VolumeRecord } from "./volume-record.js";
import { decodeRecord, encodeRecord, OLDEST_SCHEMA_VERSION, SCHEMA_VERSION, type ZoneRecord } from "./zone-record.js";

const SCHEMA_KEY = "schema";
const ZONE_PREFIX = "zone/";
const AFTER_ZONES = "zone0"; // "0" follows "/" in ASCII
const VOLUME_PREFIX = "volume/";
const AFTER_VOLUMES = "volume0";

/**
 * The zones and volumes that this bridge knows, in LevelDB. A write has reached the disk when its promise settles.
 * The database's lock makes the bridge the only one on its state directory.
 */
export class StateStore {
  readonly #db: ClassicLevel<string, string>;

  private constructor(db: ClassicLevel<string, string>) {
    this.#db = db;
  }

  /** Opens or makes the store in `directory`. Throws BRIDGE_RUNNING, STATE_TOO_NEW or STATE_DAMAGED. */
  static async open(directory: string): Promise<StateStore> {
    await mkdir(directory, { recursive: true, mode: 0o700 });
    const db = new ClassicLevel<string, string>(directory);
    try {
      await db.open();
    } catch (thrown) {
      throw openError(directory, thrown);
    }
    try {
      const version = await db.get(SCHEMA_KEY);
      const known = Number(version) >= OLDEST_SCHEMA_VERSION && Number(version) < SCHEMA_VERSION;
      if (version === undefined || known) await db.put(SCHEMA_KEY, String(SCHEMA_VERSION), { sync: true });
      else if (version !== String(SCHEMA_VERSION)) {
        const message = `${directory} was written by another version of zone-bridge (schema ${version}, this one knows ${SCHEMA_VERSION}): run that version, or move the directory away`;
        throw bridgeError("FAILED_PRECONDITION", "STATE_TOO_NEW", message);
      }
    } catch (thrown) {
      await db.close();
      throw thrown;
    }
    return new StateStore(db);
  }

  /** All zones, in order of their ids. */
  async zones(): Promise<ZoneRecord[]> {
    const records: ZoneRecord[] = [];
    for await (const [key, text] of this.#db.iterator({ gte: ZONE_PREFIX, lt: AFTER_ZONES })) {
      records.push(decodeRecord(key, text));
    }
    return records;
  }

  /** Writes a zone's record. DISK_FULL. Writes of one zone must not overlap: their order would be anyone's guess. */
  async put(record: ZoneRecord): Promise<void> {
    try {
      await this.#db.put(ZONE_PREFIX + record.id, encodeRecord(record), { sync: true });
    } catch (thrown) {
      throw writeError(this.#db.location, thrown);
    }
  }

  remove(id: string): Promise<void> {
    return this.#remove(ZONE_PREFIX + id);
  }

  /** All volumes, in order of their names. */
  async volumes(): Promise<VolumeRecord[]> {
    const records: VolumeRecord[] = [];
    for await (const [key, text] of this.#db.iterator({ gte: VOLUME_PREFIX, lt: AFTER_VOLUMES })) {
      records.push(decodeVolume(key, text));
    }
    return records;
  }

  /** Writes a volume's record. DISK_FULL. */
  async putVolume(record: VolumeRecord): Promise<void> {
    try {
      await this.#db.put(VOLUME_PREFIX + record.name, JSON.stringify(record), { sync: true });
    } catch (thrown) {
      throw writeError(this.#db.location, thrown);
    }
  }

  removeVolume(name: string): Promise<void> {
    return this.#remove(VOLUME_PREFIX + name);
  }

  #remove(key: string): Promise<void> {
    return this.#db.batch([{ type: "del", key }], { sync: true });
  }

  /** Waits for writes under way, and gives up the lock. */
  close(): Promise<void> {
    return this.#db.close();
  }
}

function writeError(directory: string, thrown: unknown): unknown {
  if (!/no space left/i.test(errorMessage(thrown))) return thrown;
  const message = `the disk of ${directory} is full: make room`;
  return bridgeError("RESOURCE_EXHAUSTED", "DISK_FULL", message, undefined, thrown);
}

function openError(directory: string, thrown: unknown): Error {
  const cause = thrown instanceof Error ? thrown.cause : undefined;
  if (cause instanceof Error && "code" in cause && cause.code === "LEVEL_LOCKED") {
    const message = `another zone-bridge runs with the state directory ${directory}: use that one, stop it, or give another --state-dir`;
    return bridgeError("FAILED_PRECONDITION", "BRIDGE_RUNNING", message, undefined, thrown);
  }
  const message = `the state store ${directory} cannot be opened: ${errorMessage(cause ?? thrown)}`;
  return bridgeError("DATA_LOSS", "STATE_DAMAGED", message, undefined, thrown);
}
