/** Lets one caller at a time run its work, in the order of asking. */
export class Lock {
  #last: Promise<unknown> = Promise.resolve();

  /** Runs `work` when all that asked before are done. With a signal, gives up waiting (not working) when it aborts. */
  run<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    const before = this.#last;
    const turn = before.then(() => {
      signal?.throwIfAborted();
      return work();
    });
    this.#last = turn.catch(() => undefined); // the caller hears of it
    if (signal === undefined) return turn;
    return new Promise((resolve, reject) => {
      const giveUp = () => reject(signal.reason);
      signal.addEventListener("abort", giveUp, { once: true });
      if (signal.aborted) giveUp();
      before.finally(() => signal.removeEventListener("abort", giveUp));
      turn.then(resolve, reject);
    });
  }
}
