import type * as grpc from "@grpc/grpc-js";
import type { ZoneError } from "@zone/proto";
import { bridgeError, errorMessage } from "../errors.js";
import type { ZoneRecord } from "../state/zone-record.js";
import { whyNotRunning } from "./life.js";
import type { RunningZone } from "./running-zone.js";
import { delay } from "./zone-link.js";

/** For a call whose link is being remade. */
const LINK_WAIT_MS = 5000;
/** For the news that a domain has ended, after its link was lost. */
const NEWS_MS = 500;

/** What of a zone is needed to reach its agent. */
export interface ReachableZone {
  readonly record: ZoneRecord;
  /** While it runs, or stands still. */
  readonly run: RunningZone | undefined;
  readonly ended: Promise<void>;
}

/** How a zone's agent is reached, and what is said when it is not. */
export class ZoneAccess {
  readonly #zone: ReachableZone;

  constructor(zone: ReachableZone) {
    this.#zone = zone;
  }

  /** A client of its agent. ZONE_PAUSED, ZONE_NOT_RUNNING, or ZONE_UNREACHABLE when its link is not remade in time, 5 s at most. */
  async client(signal: AbortSignal, timeoutMs = LINK_WAIT_MS): Promise<grpc.Client> {
    const { run } = this.#zone;
    if (!run || this.#paused) throw this.notRunning();
    try {
      return await run.link.client(AbortSignal.any([signal, run.detached]), Math.min(LINK_WAIT_MS, timeoutMs));
    } catch (thrown) {
      throw await this.unreachable(thrown);
    }
  }

  /** Why a call to its agent failed whose link was lost. */
  async unreachable(cause: unknown): Promise<ZoneError> {
    await Promise.race([this.#zone.ended, delay(NEWS_MS)]).catch(() => {});
    if (!this.#zone.run || this.#paused) return this.notRunning();
    const { name } = this.#zone.record;
    const message = `the link to zone ${name} is down and being remade: ${errorMessage(cause)}`;
    return bridgeError("UNAVAILABLE", "ZONE_UNREACHABLE", message, { type: "zone", name }, cause);
  }

  /** Why it cannot be worked with now: ZONE_PAUSED, ZONE_NOT_RUNNING. */
  notRunning(): ZoneError {
    const { name, life } = this.#zone.record;
    const [reason, why] = this.#paused
      ? ["ZONE_PAUSED", "is paused: resume it first"]
      : ["ZONE_NOT_RUNNING", `does not run: ${whyNotRunning(life)}`];
    return bridgeError("FAILED_PRECONDITION", reason ?? "", `zone ${name} ${why}`, { type: "zone", name });
  }

  get #paused(): boolean {
    return this.#zone.record.life.state === "paused";
  }
}
