import type { ZoneMessage } from "./zone-message.js";

/** zones.proto, ZoneEvent.type. */
export type ZoneEventType =
  | "created"
  | "starting"
  | "running"
  | "stopping"
  | "ended"
  | "removed"
  | "link-up"
  | "link-down"
  | "agent-restarted"
  | "paused"
  | "resumed"
  | "updated"
  | "oom"
  | "volume-attached"
  | "volume-detached";

export interface ZoneChange {
  /** Milliseconds since 1970. */
  time: number;
  type: ZoneEventType;
  ownerUid: number;
  zone: ZoneMessage;
}

/** Events that wait for one subscriber to take them. */
const MAX_WAITING = 256;

/** Tells all subscribers of changes. A subscriber that does not keep up loses the oldest and is told how many. */
export class EventHub {
  readonly #subscribers = new Set<Subscription>();

  publish(change: ZoneChange): void {
    for (const subscriber of this.#subscribers) subscriber.offer(change);
  }

  /** Everything that `wanted` lets through, from now until `signal` aborts. */
  subscribe(
    wanted: (change: ZoneChange) => boolean,
    signal: AbortSignal,
  ): AsyncIterable<{ change: ZoneChange; lost: number }> {
    const subscription = new Subscription(wanted, signal);
    this.#subscribers.add(subscription);
    signal.addEventListener("abort", () => this.#subscribers.delete(subscription), { once: true });
    return subscription;
  }
}

class Subscription implements AsyncIterable<{ change: ZoneChange; lost: number }> {
  readonly #waiting: ZoneChange[] = [];
  #lost = 0;
  #wake = () => {};

  constructor(
    readonly wanted: (change: ZoneChange) => boolean,
    readonly signal: AbortSignal,
  ) {
    signal.addEventListener("abort", () => this.#wake(), { once: true });
  }

  offer(change: ZoneChange): void {
    if (!this.wanted(change)) return;
    if (this.#waiting.length === MAX_WAITING) {
      this.#waiting.shift();
      this.#lost += 1;
    }
    this.#waiting.push(change);
    this.#wake();
  }

  async *[Symbol.asyncIterator]() {
    while (!this.signal.aborted) {
      const change = this.#waiting.shift();
      if (change) {
        const lost = this.#lost;
        this.#lost = 0;
        yield { change, lost };
        continue;
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}
