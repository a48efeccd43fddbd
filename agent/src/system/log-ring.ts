import { LIMITS } from "../limits.js";

export interface RingRecord {
  /** Counts from 1. */
  cursor: number;
  /** One line of JSON, without its newline. */
  json: string;
}

/** The agent's own log: the newest lines, bounded in number and bytes. A destination for pino. */
export class LogRing {
  #records: RingRecord[] = [];
  #bytes = 0;
  #next = 1;
  readonly #followers = new Set<() => void>();

  /** Takes a line as pino writes it. A line over 8 KiB is replaced by a short one that says so: cut JSON is no JSON. */
  write(line: string): void {
    let json = line.trimEnd();
    if (json.length > LIMITS.logRecordBytes) {
      json = JSON.stringify({ level: 40, msg: `a log record of ${json.length} characters was left out` });
    }
    this.#records.push({ cursor: this.#next++, json });
    this.#bytes += json.length;
    while (this.#records.length > LIMITS.logRecords || this.#bytes > LIMITS.logBytes) {
      this.#bytes -= this.#records.shift()?.json.length ?? 0;
    }
    for (const follower of this.#followers) follower();
  }

  /** The cursor that the next record will have. */
  get next(): number {
    return this.#next;
  }

  /** The first record at or after `cursor`, and how many before it are gone; undefined when there is none yet. */
  from(cursor: number): { record: RingRecord; lost: number } | undefined {
    const first = this.#records[0]?.cursor ?? this.#next;
    const record = this.#records[Math.max(cursor, first) - first];
    return record && { record, lost: Math.max(0, first - Math.max(cursor, 1)) };
  }

  /** Calls `follower` after every record, until the returned function is called. */
  follow(follower: () => void): () => void {
    this.#followers.add(follower);
    return () => this.#followers.delete(follower);
  }
}
