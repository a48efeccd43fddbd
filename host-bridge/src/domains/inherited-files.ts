import { type FileHandle, open } from "node:fs/promises";
import { bridgeError, errorMessage } from "../errors.js";
import { FIRST_FD } from "./qemu-process.js";

/** The files that a VMM inherits, with the numbers that they have in it. */
export class InheritedFiles {
  readonly #handles: (FileHandle | number)[] = [];

  /** To hand to spawnVmm. */
  get fds(): number[] {
    return this.#handles.map((handle) => (typeof handle === "number" ? handle : handle.fd));
  }

  /** Opens a file, read-only unless said otherwise; answers with its number in the VMM. INTERNAL/FILE_UNREADABLE. */
  async add(path: string, flags: "r" | "r+" = "r"): Promise<number> {
    return this.#add(path, flags);
  }

  /** A descriptor as it is, which stays the caller's. */
  addDescriptor(fd: number): number {
    return FIRST_FD + this.#handles.push(fd) - 1;
  }

  /**
   * One of the bridge's own descriptors, opened anew (an inherited one would share its offset with the others), for reading or,
   * for memory that is written, both.
   */
  async addOwn(fd: number, flags: "r" | "r+" = "r"): Promise<number> {
    return this.#add(`/proc/self/fd/${fd}`, flags);
  }

  async close(): Promise<void> {
    const handles = this.#handles.splice(0);
    await Promise.all(handles.map((handle) => typeof handle !== "number" && handle.close()));
  }

  async #add(path: string, flags: "r" | "r+"): Promise<number> {
    try {
      return FIRST_FD + this.#handles.push(await open(path, flags)) - 1;
    } catch (error) {
      throw bridgeError(
        "INTERNAL",
        "FILE_UNREADABLE",
        `cannot open ${path} for a zone: ${errorMessage(error)}`,
        undefined,
        error,
      );
    }
  }
}
