import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { RuntimeError } from "./runtime-error.js";

/** What the runtime remembers of a container between its commands. */
export interface ContainerRecord {
  id: string;
  bundle: string;
  ociVersion: string;
  annotations: Record<string, string>;
  /** Of the process on this host that carries the container's output; it ends after the container's process has. */
  carrierPid: number;
  /** It was killed before it was started. */
  givenUp?: true;
}

/** Records in a folder, a file each. */
export class Records {
  readonly #folder: string;

  constructor(folder: string) {
    mkdirSync(folder, { recursive: true });
    this.#folder = folder;
  }

  /** Throws RuntimeError when it is not there. */
  read(id: string): ContainerRecord {
    try {
      return JSON.parse(readFileSync(this.#path(id), "utf8")) as ContainerRecord;
    } catch {
      throw new RuntimeError(`container "${id}" does not exist`);
    }
  }

  /** Takes the id. Throws RuntimeError when it is taken. */
  claim(id: string): void {
    try {
      writeFileSync(this.#path(id), "", { flag: "wx" });
    } catch {
      throw new RuntimeError(`container with id "${id}" already exists`);
    }
  }

  write(record: ContainerRecord): void {
    writeFileSync(this.#path(record.id), JSON.stringify(record));
  }

  remove(id: string): void {
    rmSync(this.#path(id), { force: true });
  }

  #path(id: string): string {
    if (!/^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/.test(id)) throw new RuntimeError(`invalid container ID "${id}"`);
    return join(this.#folder, `${id}.json`);
  }
}
