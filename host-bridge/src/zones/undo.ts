import type { Logger } from "pino";
import { errorMessage } from "../errors.js";

type Step = () => unknown;

/** How to take back what has been done so far, for a change that is made as a whole or not at all. */
export class Undo {
  readonly #log: Logger;
  readonly #steps: Step[];

  constructor(log: Logger, ...steps: Step[]) {
    this.#log = log;
    this.#steps = steps;
  }

  push(step: Step): void {
    this.#steps.push(step);
  }

  /**
   * Takes everything back, the last first; answers whether all could be. What cannot is logged: the error that led here is the one
   * to tell.
   */
  async all(): Promise<boolean> {
    let undone = true;
    for (const step of this.#steps.splice(0).reverse()) {
      try {
        await step();
      } catch (thrown) {
        undone = false;
        this.#log.error({ error: errorMessage(thrown) }, "a change that failed could not be undone");
      }
    }
    return undone;
  }
}
