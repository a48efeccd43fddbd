import type { ProgressFn } from "./driver.js";

type Work<T> = (progress: ProgressFn, signal: AbortSignal) => Promise<T>;

interface Running<T> {
  result: Promise<T>;
  watchers: Set<ProgressFn>;
  controller: AbortController;
}

/** Work of which only one with the same key runs at a time; all who ask meanwhile wait for it and see its progress. */
export class SharedWork<T> {
  readonly #running = new Map<string, Running<T>>();

  /**
   * Starts `work`, or joins the one that runs. Rejects with the signal's reason when the caller gives up. When the last one has,
   * the work is aborted, and the call rejects only when it has cleaned up.
   */
  async run(key: string, work: Work<T>, progress: ProgressFn, signal: AbortSignal): Promise<T> {
    signal.throwIfAborted();
    const running = this.#running.get(key) ?? this.#start(key, work);
    // One entry per call, even when two calls pass the same function.
    const watcher: ProgressFn = (...message) => progress(...message);
    running.watchers.add(watcher);
    let giveUp = () => {};
    const gaveUp = new Promise<never>((_resolve, reject) => {
      giveUp = () => reject(signal.reason);
    });
    signal.addEventListener("abort", giveUp, { once: true });
    try {
      return await Promise.race([running.result, gaveUp]);
    } finally {
      signal.removeEventListener("abort", giveUp);
      running.watchers.delete(watcher);
      if (running.watchers.size === 0 && this.#running.get(key) === running) {
        this.#running.delete(key); // nobody joins what is being aborted
        running.controller.abort(signal.reason);
        await running.result.catch(() => {});
      }
    }
  }

  #start(key: string, work: Work<T>): Running<T> {
    const watchers = new Set<ProgressFn>();
    const controller = new AbortController();
    const tell: ProgressFn = (...message) => {
      for (const watcher of watchers) watcher(...message);
    };
    const running: Running<T> = { result: work(tell, controller.signal), watchers, controller };
    this.#running.set(key, running);
    const forget = () => {
      if (this.#running.get(key) === running) this.#running.delete(key);
    };
    running.result.then(forget, forget); // handled here too, so that a failure after everyone left is not an unhandled one
    return running;
  }
}
