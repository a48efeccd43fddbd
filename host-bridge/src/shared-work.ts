import type { ProgressFn } from "./domains/driver.js";

interface Running<T> {
  result: Promise<T>;
  controller: AbortController;
  callers: Set<{ progress: ProgressFn }>;
}

/** Work that callers who want the same thing at the same time share. */
export class SharedWork<T> {
  readonly #running = new Map<string, Running<T>>();

  /**
   * Joins the work on `key`, or starts it. All callers see its progress and its result. A caller that cancels leaves at once
   * (rejected with its signal's reason); the last one to leave cancels the work, and is answered when it has ended.
   */
  async join(
    key: string,
    progress: ProgressFn,
    signal: AbortSignal,
    start: (progress: ProgressFn, signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    signal.throwIfAborted();
    let running = this.#running.get(key);
    while (running?.controller.signal.aborted) {
      await running.result.catch(() => undefined); // its own callers hear of it
      running = this.#running.get(key);
    }
    running ??= this.#start(key, start);
    return leaveOnAbort(running, { progress }, signal);
  }

  #start(key: string, start: (progress: ProgressFn, signal: AbortSignal) => Promise<T>): Running<T> {
    const controller = new AbortController();
    const callers: Running<T>["callers"] = new Set();
    const all: ProgressFn = (...said) => {
      for (const { progress } of callers) progress(...said);
    };
    const result = start(all, controller.signal).finally(() => this.#running.delete(key));
    const running = { result, controller, callers };
    this.#running.set(key, running);
    return running;
  }
}

function leaveOnAbort<T>(running: Running<T>, caller: { progress: ProgressFn }, signal: AbortSignal): Promise<T> {
  running.callers.add(caller);
  return new Promise<T>((resolve, reject) => {
    const leave = () => {
      running.callers.delete(caller);
      if (running.callers.size === 0) running.controller.abort(signal.reason);
      else reject(signal.reason);
    };
    signal.addEventListener("abort", leave, { once: true });
    if (signal.aborted) leave(); // while we waited for an earlier one to end
    running.result.then(resolve, reject).finally(() => signal.removeEventListener("abort", leave));
  });
}
