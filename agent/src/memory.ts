import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

let gc: (() => void) | undefined;

/** Collects all garbage now: what V8 has freed of its heap goes back to the kernel. Tens of milliseconds. */
export function collectGarbage(): void {
  if (!gc) {
    setFlagsFromString("--expose-gc");
    gc = runInNewContext("gc") as () => void;
  }
  gc();
}

/** Ended processes after which a collection is worth its pause. */
const BURST = 64;
const QUIET_MS = 3000;

/**
 * Gives memory back after a burst of work. V8 grows its heap under load and leaves it grown when the load ends, since nothing
 * allocates any more; in a zone of 96 MiB that is what a workload lacks. So: one collection when nothing has ended for a
 * while, after many processes have.
 */
export class IdleCollector {
  readonly #collect: () => void;
  readonly #quietMs: number;
  #ended = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(collect = collectGarbage, quietMs = QUIET_MS) {
    this.#collect = collect;
    this.#quietMs = quietMs;
  }

  /** A process has ended. */
  processEnded(): void {
    this.#ended++;
    if (this.#ended < BURST) return;
    if (this.#timer) {
      this.#timer.refresh();
      return;
    }
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#ended = 0;
      this.#collect();
    }, this.#quietMs).unref();
  }
}
