import type { Stats } from "node:fs";
import { bridgeError } from "../errors.js";

/** Names a file however it is reached. */
export function fileIdentity({ dev, ino }: Pick<Stats, "dev" | "ino">): string {
  return `${dev}:${ino}`;
}

/** Which files domains have: one may write to a file, or any number read it. */
export class FileClaims {
  readonly #readers = new Map<string, number>();
  readonly #writers = new Set<string>();

  /** FAILED_PRECONDITION/VOLUME_IN_USE. */
  take(file: string, readOnly: boolean, path: string): void {
    const readers = this.#readers.get(file) ?? 0;
    if (this.#writers.has(file) || (!readOnly && readers > 0)) {
      const message = `${path} is attached already, to this zone or to another one`;
      throw bridgeError("FAILED_PRECONDITION", "VOLUME_IN_USE", message, { type: "file", name: path });
    }
    if (readOnly) this.#readers.set(file, readers + 1);
    else this.#writers.add(file);
  }

  release(file: string, readOnly: boolean): void {
    if (!readOnly) {
      this.#writers.delete(file);
      return;
    }
    const readers = (this.#readers.get(file) ?? 0) - 1;
    if (readers > 0) this.#readers.set(file, readers);
    else this.#readers.delete(file);
  }
}
