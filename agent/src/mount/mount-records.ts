import { existsSync, readFileSync } from "node:fs";
import { writeAtomically } from "../system/identity.js";

/** What is kept of a mount, beside what mountinfo says of it. */
export interface MountRecord {
  /** Of the mount, as in mountinfo: its name while it is mounted. */
  id: number;
  /** "" for a mount of the zone. */
  containerId: string;
  /** As it was asked for. */
  target: string;
  type: string;
  /** The file volume that it is a bind mount of, and whether it is of one file. */
  volume: { name: string; single: boolean } | undefined;
}

/** File systems that are frozen, by a mount of each. */
interface State {
  mounts: MountRecord[];
  /** Ids of mounts. */
  frozen: number[];
}

/** The mounts of the agent in the order in which they were made; a file holds them for its successor. */
export class MountRecords {
  readonly #file: string;
  readonly #byId = new Map<number, MountRecord>();
  readonly #frozen = new Set<number>();

  constructor(file: string) {
    this.#file = file;
  }

  get size(): number {
    return this.#byId.size;
  }

  get all(): MountRecord[] {
    return [...this.#byId.values()];
  }

  get frozen(): number[] {
    return [...this.#frozen];
  }

  get(id: number): MountRecord | undefined {
    return this.#byId.get(id);
  }

  named(containerId: string, target: string): MountRecord | undefined {
    return this.all.find((record) => record.containerId === containerId && record.target === target);
  }

  of(containerId: string): MountRecord[] {
    return this.all.filter((record) => record.containerId === containerId);
  }

  /** Written before the mount is there, so that no mount is without a record. */
  add(record: MountRecord): void {
    this.#byId.set(record.id, record);
    this.#write();
  }

  remove(id: number): void {
    this.#frozen.delete(id);
    if (this.#byId.delete(id)) this.#write();
  }

  setFrozen(id: number, frozen: boolean): void {
    if (frozen) this.#frozen.add(id);
    else this.#frozen.delete(id);
    this.#write();
  }

  /** Takes up those of the file that `isThere` knows. */
  load(isThere: (record: MountRecord) => boolean): void {
    if (!existsSync(this.#file)) return;
    const { mounts, frozen } = JSON.parse(readFileSync(this.#file, "utf8")) as State;
    for (const record of mounts) if (isThere(record)) this.#byId.set(record.id, record);
    for (const id of frozen) if (this.#byId.has(id)) this.#frozen.add(id);
    this.#write();
  }

  #write(): void {
    writeAtomically(this.#file, JSON.stringify({ mounts: this.all, frozen: this.frozen } satisfies State));
  }
}
