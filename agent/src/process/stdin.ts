import { agentError, invalid } from "../errors.js";

/** Where stdin's bytes go: a pipe or a tty. */
export interface StdinTarget {
  /** Hands over bytes; `taken` is called when the descriptor has them, with an error when it never will. */
  write(bytes: Uint8Array, taken: (error?: Error | null) => void): void;
  /** Ends stdin; called once, when all that was written has been taken. */
  finish(): void;
  /** Gives up what has not been taken; called at most once, instead of `finish`. */
  drop(): void;
}

/**
 * The stdin of a process, counted in absolute offsets:
 *
 *     0 <= accepted <= received        received: taken from clients;  accepted: taken by the pipe or tty, and acknowledged
 *
 * Data and EOF may come again after a lost link: what is before `received` is dropped. Once closed (EOF came, the process
 * closed its end, or it has ended) data is ignored, and the holder is told so by `onAccepted(offset, true)`.
 */
export class Stdin {
  readonly #target: StdinTarget;
  readonly #record: (accepted: number) => void;
  #received: number;
  #accepted: number;
  #state: "open" | "ending" | "closed" = "open";
  /** Told after every change of what is accepted, and of whether more ever will be. */
  onAccepted: () => void = () => {};

  /** `record` is told what is accepted, before anybody else is. */
  constructor(target: StdinTarget, base = 0, record: (accepted: number) => void = () => {}) {
    this.#target = target;
    this.#record = record;
    this.#received = base;
    this.#accepted = base;
  }

  get received(): number {
    return this.#received;
  }

  get accepted(): number {
    return this.#accepted;
  }

  /** Whether nothing more is accepted. */
  get closed(): boolean {
    return this.#state === "closed";
  }

  /** Bytes that the process has not made room for yet. */
  get queued(): number {
    return this.#received - this.#accepted;
  }

  /** Takes bytes at `offset`; OFFSET_IN_FUTURE when some before them are missing. */
  write(offset: number, bytes: Uint8Array): void {
    if (this.#state !== "open") {
      if (this.closed) this.onAccepted();
      return;
    }
    if (offset > this.#received) throw inFuture(offset, this.#received);
    const fresh = bytes.subarray(Math.min(this.#received - offset, bytes.length));
    if (fresh.length === 0) {
      this.onAccepted();
      return;
    }
    this.#received += fresh.length;
    this.#target.write(fresh, (error) => {
      if (this.closed) return;
      if (error) {
        this.close();
        return;
      }
      this.#accepted += fresh.length;
      this.#record(this.#accepted);
      this.#finishWhenTaken();
      this.onAccepted();
    });
  }

  /** Ends stdin after `offset` bytes, by default after what has been received. Idempotent. */
  end(offset = this.#received): void {
    if (this.#state !== "open") {
      this.onAccepted();
      return;
    }
    if (offset > this.#received) throw inFuture(offset, this.#received);
    if (offset < this.#received) {
      throw invalid("INVALID_OFFSET", `stdin cannot end at ${offset}: ${this.#received} bytes have been received`);
    }
    this.#state = "ending";
    this.#finishWhenTaken();
    if (this.closed) this.onAccepted();
  }

  /** The process takes no more: it closed its end or has ended. What was not accepted is lost. Idempotent. */
  close(): void {
    if (this.closed) return;
    this.#state = "closed";
    this.#target.drop();
    this.onAccepted();
  }

  #finishWhenTaken(): void {
    if (this.#state !== "ending" || this.queued > 0) return;
    this.#target.finish();
    this.#state = "closed";
  }
}

function inFuture(offset: number, received: number): Error {
  return agentError(
    "OUT_OF_RANGE",
    "OFFSET_IN_FUTURE",
    `stdin offset ${offset} is beyond the ${received} bytes received`,
  );
}
