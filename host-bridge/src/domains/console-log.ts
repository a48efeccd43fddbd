import { closeSync, fstatSync, openSync, readSync, renameSync, writeSync } from "node:fs";
import type { Socket } from "node:net";

/** What is kept in memory, and shown. */
const TAIL_BYTES = 64 * 1024;
/** When the file is rotated; one old one is kept. */
const FILE_BYTES = 1 << 20;
/** A guest may write for ever: after each burst of so many bytes, reading pauses. 4 MiB/s; a serial port has less. */
const BURST_BYTES = 64 * 1024;
const PAUSE_MS = 16;

/**
 * The console of one guest: its last bytes in memory, and in a file that a later bridge goes on from. The bytes are hostile and
 * never interpreted. Writes are synchronous: they are few (see readConsole) and go to a tmpfs.
 */
export class ConsoleLog {
  readonly #path: string;
  #pieces: Buffer[] = [];
  #held = 0;
  #file: { fd: number; size: number } | undefined;

  /** Goes on with the file at `path` where there is one. */
  constructor(path: string) {
    this.#path = path;
    for (const earlier of [`${path}.1`, path]) this.#hold(readTail(earlier));
    const fd = openSync(path, "a", 0o600);
    this.#file = { fd, size: fstatSync(fd).size };
  }

  append(chunk: Buffer): void {
    this.#hold(chunk);
    if (!this.#file) return;
    try {
      writeSync(this.#file.fd, chunk);
      this.#file.size += chunk.length;
      if (this.#file.size >= FILE_BYTES) this.#rotate();
    } catch (error) {
      this.close();
      this.#hold(Buffer.from(`\n[bridge: cannot keep the console in ${this.#path}: ${(error as Error).message}]\n`));
    }
  }

  /** The last bytes, at most 64 KiB. */
  tail(): Buffer {
    const all = Buffer.concat(this.#pieces);
    const tail = all.subarray(Math.max(0, all.length - TAIL_BYTES));
    this.#pieces = [tail];
    this.#held = tail.length;
    return Buffer.from(tail);
  }

  close(): void {
    if (this.#file) closeSync(this.#file.fd);
    this.#file = undefined;
  }

  #hold(chunk: Buffer): void {
    this.#pieces.push(chunk);
    this.#held += chunk.length;
    if (this.#held > 2 * TAIL_BYTES || this.#pieces.length > 1024) this.tail();
  }

  #rotate(): void {
    this.close();
    renameSync(this.#path, `${this.#path}.1`);
    this.#file = { fd: openSync(this.#path, "a", 0o600), size: 0 };
  }
}

/** Reads a console's socket into `log`, no faster than 4 MiB/s. Settles when the other side has closed and all is read. */
export function readConsole(socket: Socket, log: ConsoleLog): Promise<void> {
  return new Promise((resolve) => {
    let burst = 0;
    socket.on("data", (chunk: Buffer) => {
      log.append(chunk);
      burst += chunk.length;
      if (burst < BURST_BYTES) return;
      burst = 0;
      socket.pause();
      setTimeout(() => socket.resume(), PAUSE_MS);
    });
    socket.on("error", (error) => log.append(Buffer.from(`\n[bridge: console lost: ${error.message}]\n`)));
    socket.once("close", () => resolve());
  });
}

/** The last `count` lines of a console for a message to people: printable ASCII, bounded. */
export function lastLines(console: Buffer, count = 6): string {
  const lines = console
    .subarray(Math.max(0, console.length - 4096))
    .toString("latin1")
    .split(/[\r\n]+/)
    .map((line) => line.replace(/[^ -~]/g, "").trimEnd())
    .filter((line) => line !== "");
  return lines
    .slice(-count)
    .map((line) => line.slice(0, 200))
    .join(" | ");
}

/** The last bytes of a file that we wrote; nothing when it is not there. */
function readTail(path: string): Buffer {
  let fd: number;
  try {
    fd = openSync(path, "r");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return Buffer.alloc(0);
    throw error;
  }
  try {
    const { size } = fstatSync(fd);
    const bytes = Buffer.alloc(Math.min(size, TAIL_BYTES));
    return bytes.subarray(0, readSync(fd, bytes, 0, bytes.length, size - bytes.length));
  } finally {
    closeSync(fd);
  }
}
