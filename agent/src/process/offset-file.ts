import { closeSync, constants, mkdirSync, openSync, readSync, writeSync } from "node:fs";
import { dirname } from "node:path";
import { LIMITS } from "../limits.js";

export type StdioStream = "stdin" | "stdout" | "stderr";

/**
 * The most output of one stream that a killed agent can have read without having recorded it: one read of 64 KiB, and less
 * than that in its stream's own buffer. A restarted agent goes on so much further: its clients get a gap that may be too long,
 * and never miss bytes without one.
 */
export const UNCOUNTED_BYTES = 128 * 1024;

/** A slot: the token, then an offset per stream, each 8 bytes; a token of 0 is a free slot. */
const SLOT_BYTES = 32;
const PLACES: Record<StdioStream, number> = { stdin: 8, stdout: 16, stderr: 24 };

/**
 * How far the stdio of each process has come, kept in memory that outlives the agent (/run is a tmpfs), so that an agent that
 * was restarted goes on at the same offsets, and a client that attaches again learns exactly which bytes died with the old
 * agent's buffers.
 *
 * A change is one small pwrite(2), made before the bytes are passed on. What the agent was killed in the midst of is not in it:
 * see UNCOUNTED_BYTES for output; stdin that the process took in that moment is sent again by a client that was not told.
 *
 * The file has its full size from the beginning, so that a full tmpfs never makes a write fail.
 */
export class OffsetFile {
  readonly #fd: number;
  readonly #contents: Buffer;
  readonly #slots = new Map<bigint, number>();
  readonly #free: number[] = [];

  /** Opens or makes the file; what an earlier agent has recorded is in it. */
  constructor(path: string) {
    mkdirSync(dirname(path), { recursive: true });
    this.#fd = openSync(path, constants.O_RDWR | constants.O_CREAT, 0o600);
    this.#contents = Buffer.alloc(LIMITS.processes * SLOT_BYTES);
    const length = readSync(this.#fd, this.#contents, 0, this.#contents.length, 0);
    if (length < this.#contents.length)
      writeSync(this.#fd, this.#contents, length, this.#contents.length - length, length);
    for (let slot = LIMITS.processes - 1; slot >= 0; slot--) {
      const token = this.#contents.readBigUInt64LE(slot * SLOT_BYTES);
      if (token === 0n) this.#free.push(slot);
      else this.#slots.set(token, slot);
    }
  }

  /** An offset of the process `token`: 0 when none was recorded. */
  get(token: bigint, stream: StdioStream): number {
    const slot = this.#slots.get(token);
    return slot === undefined ? 0 : this.#contents.readDoubleLE(slot * SLOT_BYTES + PLACES[stream]);
  }

  /** Records an offset. */
  set(token: bigint, stream: StdioStream, offset: number): void {
    const slot = this.#slots.get(token) ?? this.#take(token);
    const at = slot * SLOT_BYTES;
    // Doubles are exact for every offset that is counted, and cost no BigInt.
    this.#contents.writeDoubleLE(offset, at + PLACES[stream]);
    writeSync(this.#fd, this.#contents, at, SLOT_BYTES, at);
  }

  /** Forgets a process. */
  delete(token: bigint): void {
    const slot = this.#slots.get(token);
    if (slot === undefined) return;
    const at = slot * SLOT_BYTES;
    this.#contents.fill(0, at, at + SLOT_BYTES);
    writeSync(this.#fd, this.#contents, at, SLOT_BYTES, at);
    this.#slots.delete(token);
    this.#free.push(slot);
  }

  /** Forgets all processes but these. */
  keepOnly(tokens: ReadonlySet<bigint>): void {
    for (const token of [...this.#slots.keys()]) if (!tokens.has(token)) this.delete(token);
  }

  close(): void {
    closeSync(this.#fd);
  }

  #take(token: bigint): number {
    const slot = this.#free.pop();
    if (slot === undefined) throw new Error(`more than ${LIMITS.processes} processes have offsets`);
    this.#slots.set(token, slot);
    this.#contents.writeBigUInt64LE(token, slot * SLOT_BYTES);
    return slot;
  }
}
