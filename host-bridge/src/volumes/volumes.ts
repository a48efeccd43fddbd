import { randomInt } from "node:crypto";
import { mkdir, open, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import type { ZoneError } from "@zone/proto";
import { bridgeError } from "../errors.js";
import type { StateStore } from "../state/store.js";
import type { VolumeRecord } from "../state/volume-record.js";
import { chooseName } from "../zones/names.js";
import { makeVolume } from "./make-volume.js";
import { checkSize, DEFAULT_VOLUME_BYTES } from "./volume-size.js";

const MAX_VOLUMES = 10_000;

/** Who asks; an admin may use every volume. */
export interface VolumeUser {
  uid: number;
  admin: boolean;
}

/** A zone that has a volume, or wants one. */
export interface VolumeHolder {
  id: string;
  name: string;
}

export interface VolumesOptions {
  /** Holds the files; made when missing. */
  directory: string;
  store: Pick<StateStore, "volumes" | "putVolume" | "removeVolume">;
  /** For PATH: mkfs.ext4(8) is looked up in it. */
  env: NodeJS.ProcessEnv;
}

/** Volumes: a file and a record each. A volume is one zone's at a time. The host makes file systems, and never looks into them. */
export class Volumes {
  readonly #options: VolumesOptions;
  readonly #records = new Map<string, VolumeRecord>();
  readonly #holders = new Map<string, VolumeHolder>();
  /** Volumes that are being made, resized or removed: what concerns one volume happens in turn. */
  readonly #turns = new Map<string, Promise<unknown>>();

  private constructor(options: VolumesOptions) {
    this.#options = options;
  }

  static async open(options: VolumesOptions): Promise<Volumes> {
    await mkdir(options.directory, { recursive: true, mode: 0o700 });
    const volumes = new Volumes(options);
    for (const record of await options.store.volumes()) volumes.#records.set(record.name, record);
    return volumes;
  }

  /** Makes a volume; the name is chosen when empty. NAME_IN_USE, INVALID_LIMIT, and the errors of makeVolume. */
  async create(asked: { name: string; sizeBytes: number; labels: Record<string, string> }, user: VolumeUser) {
    const sizeBytes = checkSize(asked.sizeBytes || DEFAULT_VOLUME_BYTES);
    const name =
      asked.name ||
      chooseName(
        (taken) => this.#records.has(taken) || this.#turns.has(taken),
        (below) => randomInt(below),
      );
    return this.#inTurn(name, async () => {
      if (this.#records.has(name)) {
        const message = `a volume named ${name} exists: use that one, remove it, or choose another name`;
        throw bridgeError("ALREADY_EXISTS", "NAME_IN_USE", message, resource(name));
      }
      return this.#make({ name, ownerUid: user.uid, sizeBytes, createdAt: Date.now(), labels: asked.labels });
    });
  }

  /** The volume of this name, made when there is none. */
  async ensure(name: string, user: VolumeUser): Promise<VolumeRecord> {
    return this.#inTurn(name, async () => {
      if (this.#records.has(name)) return this.get(name, user);
      const sizeBytes = DEFAULT_VOLUME_BYTES;
      return this.#make({ name, ownerUid: user.uid, sizeBytes, createdAt: Date.now(), labels: {} });
    });
  }

  /** SOURCE_DENIED when there is such a volume and it is another user's. */
  checkUsable(name: string, user: VolumeUser): void {
    if (this.#records.has(name)) this.get(name, user);
  }

  /** VOLUME_UNKNOWN, SOURCE_DENIED. */
  get(name: string, user: VolumeUser): VolumeRecord {
    const record = this.#records.get(name);
    if (!record)
      throw bridgeError("NOT_FOUND", "VOLUME_UNKNOWN", `there is no volume "${name.slice(0, 80)}"`, resource(name));
    if (mayUse(user, record)) return record;
    throw bridgeError("PERMISSION_DENIED", "SOURCE_DENIED", `volume ${name} belongs to another user`, resource(name));
  }

  /** The user's volumes, in order of their names. */
  list(user: VolumeUser): VolumeRecord[] {
    return [...this.#records.values()]
      .filter((record) => mayUse(user, record))
      .sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  holderOf(name: string): VolumeHolder | undefined {
    return this.#holders.get(name);
  }

  /** Makes a volume one zone's until it is released. VOLUME_IN_USE names the zone that has it. */
  take(name: string, zone: VolumeHolder): void {
    const holder = this.#holders.get(name);
    if (holder && holder.id !== zone.id) throw inUse(name, `zone ${holder.name} has it: stop that zone first`);
    if (holder) throw inUse(name, "the zone has it already");
    this.#holders.set(name, zone);
  }

  /** A zone that may have volumes has another name now. */
  renameHolder(zoneId: string, name: string): void {
    for (const [volume, { id }] of this.#holders) if (id === zoneId) this.#holders.set(volume, { id, name });
  }

  /** Lets go of one of a zone's volumes, or of all. */
  release(zoneId: string, name?: string): void {
    for (const [volume, { id }] of this.#holders) {
      if (id === zoneId && (name === undefined || name === volume)) this.#holders.delete(volume);
    }
  }

  pathOf(name: string): string {
    return join(this.#options.directory, `${name}.img`);
  }

  /** Bytes that a volume takes on the host's disk now. */
  async allocatedBytes(name: string): Promise<number> {
    const { blocks } = await stat(this.pathOf(name));
    return blocks * 512; // inode(7), whatever the file system's own blocks are
  }

  /** Removes a volume and what is in it. VOLUME_UNKNOWN, VOLUME_IN_USE. */
  remove(name: string, user: VolumeUser): Promise<void> {
    return this.#inTurn(name, async () => {
      this.get(name, user);
      const holder = this.#holders.get(name);
      if (holder) throw inUse(name, `zone ${holder.name} has it: stop that zone first`);
      // The file goes first: one without a record could not be told from one whose record was lost.
      await rm(this.pathOf(name), { force: true });
      await this.#options.store.removeVolume(name);
      this.#records.delete(name);
    });
  }

  /** Makes a volume's file larger; its file system is grown later. INVALID_LIMIT when it would be smaller. */
  grow(name: string, asked: number, user: VolumeUser): Promise<VolumeRecord> {
    return this.#inTurn(name, async () => {
      const record = this.get(name, user);
      const sizeBytes = checkSize(asked);
      if (sizeBytes < record.sizeBytes) {
        const message = `volume ${name} has ${record.sizeBytes} bytes and cannot become smaller: make another one, and copy`;
        throw bridgeError("INVALID_ARGUMENT", "INVALID_LIMIT", message, resource(name));
      }
      if (sizeBytes === record.sizeBytes) return record;
      // Written before the file grows: a size beyond the file's end would be an error of the disk.
      const file = await open(this.pathOf(name), "r+");
      try {
        await file.truncate(sizeBytes);
        await file.sync();
      } finally {
        await file.close();
      }
      return this.#put({ ...record, sizeBytes, grown: true });
    });
  }

  /** A volume's file system has been grown to its file's size. */
  noteGrown(name: string): Promise<unknown> {
    return this.#inTurn(name, async () => {
      const record = this.#records.get(name);
      if (!record?.grown) return;
      const { grown: _, ...rest } = record;
      await this.#put(rest);
    });
  }

  /** Whether a volume's file system is still smaller than its file. */
  isGrown(name: string): boolean {
    return this.#records.get(name)?.grown === true;
  }

  async #make(record: VolumeRecord): Promise<VolumeRecord> {
    if (this.#records.size >= MAX_VOLUMES) {
      throw bridgeError("RESOURCE_EXHAUSTED", "DISK_FULL", `there are ${MAX_VOLUMES} volumes: remove some first`);
    }
    const path = this.pathOf(record.name);
    await makeVolume(path, record.sizeBytes, this.#options.env);
    try {
      return await this.#put(record);
    } catch (thrown) {
      await rm(path, { force: true });
      throw thrown;
    }
  }

  async #put(record: VolumeRecord): Promise<VolumeRecord> {
    await this.#options.store.putVolume(record);
    this.#records.set(record.name, record);
    return record;
  }

  async #inTurn<T>(name: string, work: () => Promise<T>): Promise<T> {
    const before = this.#turns.get(name) ?? Promise.resolve();
    const turn = before.then(work, work);
    const settled = turn.catch(() => {});
    this.#turns.set(name, settled);
    settled.then(() => {
      if (this.#turns.get(name) === settled) this.#turns.delete(name);
    });
    return turn;
  }
}

function mayUse(user: VolumeUser, record: VolumeRecord): boolean {
  return user.admin || user.uid === record.ownerUid;
}

function inUse(name: string, why: string): ZoneError {
  return bridgeError("FAILED_PRECONDITION", "VOLUME_IN_USE", `volume ${name} is in use: ${why}`, resource(name));
}

function resource(name: string) {
  return { type: "volume", name: name.slice(0, 80) };
}
