import { LIMITS } from "../limits.js";

/** An event with its place in the zone's sequence. */
export interface Numbered<E> {
  sequence: number;
  /** Milliseconds since 1970. */
  at: number;
  event: E;
}

/** What a subscriber gets: events in order, and how many it has lost since the one before. */
export type Delivery<E> = { lost: number; sequence: number; at: number } | Numbered<E>;

/** Hands events to subscribers. Each has a bounded queue of its own, so that a slow one delays nobody and loses the oldest. */
export class EventHub<E> {
  readonly #subscriptions = new Set<Subscription<E>>();
  readonly #now: () => number;
  #sequence = 0;

  /** `now` gives milliseconds since 1970. */
  constructor(now: () => number) {
    this.#now = now;
  }

  publish(event: E): void {
    const numbered = { sequence: ++this.#sequence, at: this.#now(), event };
    for (const subscription of this.#subscriptions) subscription.put(numbered);
  }

  /** From now on; `sequence` is of the newest event before. */
  subscribe(): { subscription: Subscription<E>; sequence: number; at: number } {
    const subscription: Subscription<E> = new Subscription<E>(() => this.#subscriptions.delete(subscription));
    this.#subscriptions.add(subscription);
    return { subscription, sequence: this.#sequence, at: this.#now() };
  }
}

export class Subscription<E> {
  readonly #leave: () => void;
  #queue: Numbered<E>[] = [];
  #lost: { lost: number; sequence: number; at: number } | undefined;
  /** Called when `next` may have something again. */
  onEvent: () => void = () => {};

  constructor(leave: () => void) {
    this.#leave = leave;
  }

  put(event: Numbered<E>): void {
    this.#queue.push(event);
    if (this.#queue.length > LIMITS.eventQueue) {
      const oldest = this.#queue.shift();
      if (oldest) this.#lost = { lost: (this.#lost?.lost ?? 0) + 1, sequence: oldest.sequence, at: oldest.at };
    }
    this.onEvent();
  }

  /** The next delivery; undefined when there is none. */
  next(): Delivery<E> | undefined {
    const lost = this.#lost;
    this.#lost = undefined;
    return lost ?? this.#queue.shift();
  }

  end(): void {
    this.#leave();
  }
}
