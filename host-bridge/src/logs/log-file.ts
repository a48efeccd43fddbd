import { close, ftruncate, openSync, renameSync, write } from "node:fs";
import { promisify } from "node:util";
import { readRecords } from "./log-reader.js";
import { encodeLogRecord, HEADER_BYTES, type LogRecord, type LogStream } from "./log-record.js";

const [closeFd, truncateFd, writeFd] = [promisify(close), promisify(ftruncate), promisify(write)];

/**
 * A bounded log: `PATH`, and `PATH.1` with what was before it. When PATH is full it becomes PATH.1, whose records are gone.
 * Every file begins with the position of each stream, so that one file is enough to know where a stream continues.
 *
 * It is not synced: what a host's crash takes from the page cache the zone did not survive either. A record that was cut
 * short by a crash is cut off when the log is opened.
 */
export class LogFile {
  readonly #path: string;
  readonly #maxBytes: number;
  readonly #positions = new Map<LogStream, number>();
  readonly #waiting = new Set<() => void>();
  #fd: number;
  #size = 0;
  #generation = 0;
  #complete = false;

  private constructor(path: string, maxBytes: number) {
    this.#path = path;
    this.#maxBytes = maxBytes;
    this.#fd = openSync(path, "a", 0o600);
  }

  /** Opens or makes the log; each of its two files holds about `maxBytes` at most. */
  static async open(path: string, maxBytes: number): Promise<LogFile> {
    const log = new LogFile(path, maxBytes);
    try {
      await log.#recover();
    } catch (thrown) {
      await closeFd(log.#fd);
      throw thrown;
    }
    return log;
  }

  get path(): string {
    return this.#path;
  }

  /** Grows with each change of files: PATH is then another file than before. */
  get generation(): number {
    return this.#generation;
  }

  /** Whether nothing will be added any more. */
  get complete(): boolean {
    return this.#complete;
  }

  /** Where a stream continues: the end of its last record. */
  position(stream: LogStream): number {
    return this.#positions.get(stream) ?? 0;
  }

  /** Adds a record. Calls must not overlap. Rejects with the file system's error (ENOSPC...), and then holds no part of it. */
  async append(record: LogRecord): Promise<void> {
    if (this.#complete) throw new Error(`${this.#path} is complete`);
    if (this.#size > 0 && this.#size + HEADER_BYTES + record.data.length > this.#maxBytes) await this.#rotate();
    await this.#write(record);
    this.#positions.set(record.stream, record.to);
    this.#wake();
  }

  /** Nothing will be added any more: readers that follow come to their end. Idempotent. */
  async finish(): Promise<void> {
    if (this.#complete) return;
    this.#complete = true;
    this.#wake();
    await closeFd(this.#fd);
  }

  /** Settles at the next change (a record, or the end), or when `signal` aborts. */
  changed(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        this.#waiting.delete(done);
        signal.removeEventListener("abort", done);
        resolve();
      };
      this.#waiting.add(done);
      signal.addEventListener("abort", done, { once: true });
      if (signal.aborted || this.#complete) done();
    });
  }

  #wake(): void {
    for (const wake of [...this.#waiting]) wake();
  }

  async #write(record: LogRecord): Promise<void> {
    this.#size = await writeAt(this.#fd, this.#size, encodeLogRecord(record));
  }

  async #rotate(): Promise<void> {
    const full = this.#fd;
    const fd = openSync(`${this.#path}.new`, "a", 0o600);
    let size: number;
    try {
      await truncateFd(fd, 0); // what a rotation that failed has left
      // Before the file takes the other's place: one that lacks them would, on a full disk, be all that is known of the streams.
      size = await writeAt(fd, 0, this.#positionRecords());
    } catch (thrown) {
      await closeFd(fd);
      throw thrown;
    }
    // In one go, so that a reader finds either the files of before or those of after.
    renameSync(this.#path, `${this.#path}.1`);
    renameSync(`${this.#path}.new`, this.#path);
    this.#fd = fd;
    this.#size = size;
    this.#generation += 1;
    await closeFd(full);
  }

  #positionRecords(): Buffer {
    const [time, data] = [Date.now(), Buffer.alloc(0)];
    const records = [...this.#positions].map(([stream, at]) => ({ time, stream, from: at, to: at, data }));
    return Buffer.concat(records.map(encodeLogRecord));
  }

  /** Learns the positions from the newest file that has any, and cuts off what a crash left of a last record. */
  async #recover(): Promise<void> {
    this.#size = await this.#learn(this.#path);
    await truncateFd(this.#fd, this.#size);
    if (this.#size > 0) return;
    // A crash between the two steps of a rotation left the positions in the old file alone.
    await this.#learn(`${this.#path}.1`);
    this.#size = await writeAt(this.#fd, 0, this.#positionRecords());
  }

  /** Takes over the positions in a file; the length of its whole records. */
  async #learn(path: string): Promise<number> {
    let size = 0;
    for await (const { record, end } of readRecords(path)) {
      this.#positions.set(record.stream, record.to);
      size = end;
    }
    return size;
  }
}

/** Adds bytes at the end of a file of `size` bytes: its new size. When it fails the file is as it was. */
async function writeAt(fd: number, size: number, bytes: Buffer): Promise<number> {
  try {
    for (let done = 0; done < bytes.length; ) done += (await writeFd(fd, bytes, done)).bytesWritten;
  } catch (thrown) {
    await truncateFd(fd, size);
    throw thrown;
  }
  return size + bytes.length;
}
