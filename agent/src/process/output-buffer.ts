/**
 * The kept output of one stream: a window [start, end) of absolute offsets over what the process has written.
 *
 * Rules:
 *  - Bytes stay as long as there is room, so that a late reader gets a replay; they are evicted, oldest first, only to make
 *    room for new ones.
 *  - A reader has *taken* the bytes before an offset: those that it acknowledged, or, as long as it has never acknowledged
 *    anything, those that its transport has accepted (`delivered`). An attach at offset N takes what is before N.
 *  - BLOCK: a byte may be evicted when every attached reader has taken it; with none attached, when some reader had taken
 *    it by acknowledging or by delivery. When nothing may be evicted the buffer is not writable and the producer pauses.
 *    So a process that nobody ever reads stops when its buffer is full, and nothing is lost.
 *  - DROP: the buffer is always writable; a reader that missed bytes gets the range as a gap.
 *  - A reader that skips the stream gets its end alone and counts as not attached.
 *
 * Bytes kept: `capacity`, and what one push brings over it.
 */
import { ByteBlocks } from "./byte-blocks.js";

export type OutputPolicy = "block" | "drop";

/** What a reader gets next. */
export type OutputRecord =
  | { kind: "data"; offset: number; data: Uint8Array }
  | { kind: "gap"; from: number; to: number }
  | { kind: "eof"; offset: number; heldOpen: boolean };

export class OutputBuffer {
  readonly #blocks: ByteBlocks;
  readonly #readers = new Set<OutputReader>();
  readonly #skipping = new Set<OutputReader>();
  readonly #policy: OutputPolicy;
  #capacity: number;
  #closed: { heldOpen: boolean } | undefined;
  /** The highest offset that any reader, attached or gone, has taken by acknowledging or delivery. */
  #everTaken: number;
  /** Told when the buffer has become writable after `push` said that it is not. */
  onWritable: () => void = () => {};
  #blocked = false;

  /** An empty buffer whose first byte will have the offset `base`. */
  constructor(capacity: number, policy: OutputPolicy, base = 0) {
    this.#blocks = new ByteBlocks(base);
    this.#capacity = capacity;
    this.#policy = policy;
    this.#everTaken = base;
  }

  /** Offset of the oldest byte kept. */
  get start(): number {
    return this.#blocks.start;
  }

  /** Offset after the newest byte: the stream's length so far. */
  get end(): number {
    return this.#blocks.end;
  }

  get closed(): boolean {
    return this.#closed !== undefined;
  }

  /** Readers that are attached and do not skip. */
  get readers(): number {
    return this.#readers.size;
  }

  /** Whether a push is welcome; `push` itself never refuses. */
  get writable(): boolean {
    return this.#closed === undefined && (this.#policy === "drop" || this.end - this.#evictable() < this.#capacity);
  }

  /** Appends bytes (which must not change afterwards); false asks to pause until `onWritable`. */
  push(bytes: Uint8Array): boolean {
    if (this.#closed) throw new Error("output after its end");
    this.#blocks.append(bytes);
    const wanted = this.end - this.#capacity;
    this.#blocks.evict(this.#policy === "drop" ? wanted : Math.min(wanted, this.#evictable()));
    for (const reader of this.#readers) reader.onReadable();
    this.#blocked = !this.writable;
    return !this.#blocked;
  }

  /** Ends the stream; `heldOpen` says that a descendant may still have written. Idempotent. */
  close(heldOpen: boolean): void {
    if (this.#closed) return;
    this.#closed = { heldOpen };
    for (const reader of this.#readers) reader.onReadable();
    for (const reader of this.#skipping) reader.onReadable();
  }

  /** Lets the buffer grow by `bytes`: what a dead process left in its pipe must fit without a reader. */
  grow(bytes: number): void {
    this.#capacity += bytes;
    this.#unblock();
  }

  /**
   * A reader from offset `from`, which must not be beyond `end` (RangeError). It pulls with `next` until undefined, and then
   * again when `onReadable` was called.
   */
  attach(from: number, options: { skip?: boolean } = {}): OutputReader {
    if (!options.skip && from > this.end)
      throw new RangeError(`offset ${from} is beyond the stream's ${this.end} bytes`);
    const skip = options.skip === true;
    const set = skip ? this.#skipping : this.#readers;
    const reader: OutputReader = new OutputReader(from, {
      next: (position, max) => this.#next(position, max, skip),
      taken: (offset) => {
        this.#everTaken = Math.max(this.#everTaken, offset);
        this.#unblock();
      },
      detach: () => {
        set.delete(reader);
        this.#unblock();
      },
    });
    set.add(reader);
    this.#unblock();
    return reader;
  }

  #next(position: number, max: number, skip: boolean): OutputRecord | undefined {
    if (!skip) {
      if (position < this.start) return { kind: "gap", from: position, to: this.start };
      if (position < this.end) return { kind: "data", offset: position, data: this.#blocks.read(position, max) };
    }
    return this.#closed && { kind: "eof", offset: this.end, heldOpen: this.#closed.heldOpen };
  }

  /** The offset before which bytes may go under BLOCK. */
  #evictable(): number {
    if (this.#readers.size === 0) return this.#everTaken;
    let least = Number.POSITIVE_INFINITY;
    for (const reader of this.#readers) least = Math.min(least, reader.taken);
    return Math.min(least, this.end);
  }

  #unblock(): void {
    if (!this.#blocked || !this.writable) return;
    this.#blocked = false;
    this.onWritable();
  }
}

/** What a reader needs of its buffer. */
interface ReaderPort {
  next(position: number, max: number): OutputRecord | undefined;
  taken(offset: number): void;
  detach(): void;
}

/** One client's place in an OutputBuffer. */
export class OutputReader {
  /** Called when `next` may have something again. */
  onReadable: () => void = () => {};
  readonly #port: ReaderPort;
  #position: number;
  #taken: number;
  #acknowledges = false;
  #ended = false;

  constructor(from: number, port: ReaderPort) {
    this.#position = from;
    this.#taken = from;
    this.#port = port;
  }

  /** Offset of the next byte that it gets. */
  get position(): number {
    return this.#position;
  }

  /** Offset before which it has taken everything. */
  get taken(): number {
    return this.#taken;
  }

  /** Whether the end of the stream has been read. */
  get ended(): boolean {
    return this.#ended;
  }

  /** The next record, data of at most `max` bytes; undefined when there is nothing yet, or nothing more. */
  next(max: number): OutputRecord | undefined {
    if (this.#ended) return undefined;
    const record = this.#port.next(this.#position, max);
    if (record?.kind === "data") this.#position += record.data.length;
    else if (record?.kind === "gap") this.#position = record.to;
    else if (record?.kind === "eof") this.#ended = true;
    return record;
  }

  /** The transport has accepted what is before `offset`; says nothing once the client acknowledges by itself. */
  delivered(offset: number): void {
    if (!this.#acknowledges) this.#take(offset);
  }

  /** The client has taken what is before `offset`; RangeError when it has not been sent that yet. Going back is ignored. */
  acknowledge(offset: number): void {
    if (offset > this.#position) throw new RangeError(`offset ${offset} is beyond the ${this.#position} bytes sent`);
    this.#acknowledges = true;
    this.#take(offset);
  }

  /** Ends the reading. Idempotent. */
  detach(): void {
    this.#ended = true;
    this.#port.detach();
  }

  #take(offset: number): void {
    if (offset <= this.#taken) return;
    this.#taken = offset;
    this.#port.taken(offset);
  }
}
