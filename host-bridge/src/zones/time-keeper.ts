import type * as grpc from "@grpc/grpc-js";
import { createClient, fromTimestamp, SystemService, toTimestamp } from "@zone/proto";
import type { Logger } from "pino";
import { errorMessage } from "../errors.js";

/** A zone's clock that is off by more is set, beside half of what the question took: nobody can say more exactly. */
export const CLOCK_SLACK_MS = 250;
/** Between two looks at a healthy zone, give or take a fifth, so that zones that were started together are not asked together. */
const CHECK_INTERVAL_MS = 5 * 60_000;
const JITTER = 0.2;
/** How often the host's own clocks are compared. */
const TICK_MS = 5_000;
const CALL_TIMEOUT_MS = 10_000;
/** A busy host answers late, and sets the clock late too: asked again at most so often. */
const TRIES = 3;

/** The host's clocks, in milliseconds. */
export interface HostClock {
  /** CLOCK_REALTIME: set by people and by NTP; goes on while the host sleeps. */
  wall(): number;
  /** CLOCK_MONOTONIC: never set; stands still while the host sleeps. */
  monotonic(): number;
}

export const hostClock: HostClock = { wall: () => Date.now(), monotonic: () => performance.now() };

export interface TimeKeeperOptions {
  clock: HostClock;
  /** From 0 to 1. */
  random: () => number;
  tickMs?: number;
  intervalMs?: number;
}

/** A client of a zone's agent; rejects when there is none now. */
type ClientOf = (timeoutMs: number) => Promise<grpc.Client>;

/** One zone's clock. */
export interface KeptClock {
  /** Looks at it now; never rejects. Calls that overlap are one. */
  check(): Promise<void>;
  /** While the zone is paused nobody looks. */
  suspend(): void;
  resume(): void;
  /** Nobody looks any more. */
  stop(): void;
}

/**
 * Keeps the clocks of running zones right. Each is looked at every few minutes, when its link has been made (again), when it has
 * been resumed, and when the host's own clock was set or the host slept, which shows in that its clocks do not agree any more.
 */
export class TimeKeeper {
  readonly #options: TimeKeeperOptions;
  readonly #kept = new Set<Kept>();
  readonly #timer: NodeJS.Timeout;
  #apart: number;

  constructor(options: TimeKeeperOptions) {
    this.#options = options;
    this.#apart = this.#clocksApart();
    this.#timer = setInterval(() => this.#tick(), options.tickMs ?? TICK_MS).unref();
  }

  keep(client: ClientOf, log: Logger): KeptClock {
    const kept = new Kept(client, this.#options, log);
    this.#kept.add(kept);
    return {
      check: () => kept.check(),
      suspend: () => kept.suspend(),
      resume: () => kept.resume(),
      stop: () => {
        kept.suspend();
        this.#kept.delete(kept);
      },
    };
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #clocksApart(): number {
    const { clock } = this.#options;
    return clock.wall() - clock.monotonic();
  }

  #tick(): void {
    const apart = this.#clocksApart();
    const jumped = Math.abs(apart - this.#apart) > CLOCK_SLACK_MS;
    // Left where it is otherwise: a clock that is slewed a little at each tick has jumped in the end.
    if (jumped) this.#apart = apart;
    for (const kept of this.#kept) if (jumped || kept.isDue) void kept.check();
  }
}

class Kept {
  readonly #client: ClientOf;
  readonly #options: TimeKeeperOptions;
  readonly #log: Logger;
  #due = 0;
  #suspended = false;
  #checking: Promise<void> | undefined;

  constructor(client: ClientOf, options: TimeKeeperOptions, log: Logger) {
    this.#client = client;
    this.#options = options;
    this.#log = log;
    this.#planNext();
  }

  get isDue(): boolean {
    return this.#options.clock.monotonic() >= this.#due;
  }

  suspend(): void {
    this.#suspended = true;
  }

  resume(): void {
    this.#suspended = false;
  }

  check(): Promise<void> {
    if (this.#suspended) return Promise.resolve();
    this.#planNext();
    this.#checking ??= this.#check().finally(() => {
      this.#checking = undefined;
    });
    return this.#checking;
  }

  async #check(): Promise<void> {
    try {
      const adjusted = await setClock(await this.#client(CALL_TIMEOUT_MS), this.#options.clock);
      if (adjusted !== 0) this.#log.info({ adjustedMs: adjusted }, "the zone's clock was set");
    } catch (thrown) {
      // It will be looked at again: when its link is back, or in its turn.
      if (!this.#suspended) this.#log.debug({ error: errorMessage(thrown) }, "the zone's clock could not be looked at");
    }
  }

  #planNext(): void {
    const { clock, random, intervalMs = CHECK_INTERVAL_MS } = this.#options;
    this.#due = clock.monotonic() + intervalMs * (1 - JITTER + 2 * JITTER * random());
  }
}

/** Sets a zone's clock if it is off: answers with by how much it was (milliseconds, positive when it was behind), or 0. */
export async function setClock(client: grpc.Client, clock: HostClock): Promise<number> {
  const system = createClient(SystemService, client);
  const call = { timeoutMs: CALL_TIMEOUT_MS };
  let adjusted = 0;
  for (let tries = 0; tries < TRIES; tries++) {
    const before = clock.wall();
    const { time } = await system.info({ brief: true }, call);
    const after = clock.wall();
    const behind = (before + after) / 2 - finite(fromTimestamp(time));
    if (Math.abs(behind) <= CLOCK_SLACK_MS + Math.abs(after - before) / 2) break;
    await system.setTime({ time: toTimestamp(clock.wall()) }, call);
    adjusted ||= Math.round(behind);
  }
  return adjusted;
}

/** A zone is hostile: what is no time is a clock that is far off. */
function finite(time: number | undefined): number {
  return time !== undefined && Number.isFinite(time) ? time : 0;
}
