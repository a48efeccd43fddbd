import { ZoneError } from "@zone/proto";
import type { ProgressFn } from "../domains/driver.js";
import { bridgeError } from "../errors.js";
import type { Holdings, Prepared } from "./holdings.js";
import { launch, startFailure } from "./launch.js";
import type { ZoneEnd } from "./life.js";
import { volumesOf } from "./mount-plan.js";
import type { ZoneFile } from "./mount-spec.js";
import type { RunListener, RunningZone } from "./running-zone.js";
import { vcpusFor } from "./spec.js";
import type { ZoneContext } from "./zone-context.js";
import type { ZoneJournal } from "./zone-journal.js";

/** What of a zone its start needs. */
export interface StartableZone {
  readonly journal: ZoneJournal;
  readonly context: ZoneContext;
  readonly holdings: Holdings;
  readonly listener: RunListener;
  /** Content of files mounts, until it is started. */
  readonly files: Map<string, readonly ZoneFile[]>;
  readonly isBeingRemoved: boolean;
  /** From now on it runs. */
  take(run: RunningZone): void;
  /** It has ended before it ran. */
  finish(end: ZoneEnd): Promise<void>;
  removeUnstarted(): Promise<void>;
}

/** The one start that a zone has. */
export class ZoneStart {
  readonly #zone: StartableZone;
  #underWay: { abort: AbortController; settled: Promise<void> } | undefined;

  constructor(zone: StartableZone) {
    this.#zone = zone;
  }

  /** As Zone.start. */
  async start(hold: boolean, progress: ProgressFn, signal: AbortSignal): Promise<void> {
    if (this.#underWay) throw this.#notCreated("being started");
    this.#mustBeCreated();
    const abort = new AbortController();
    const started = this.#start(hold, progress, AbortSignal.any([signal, abort.signal]));
    this.#underWay = { abort, settled: started.catch(() => {}) };
    try {
      await started;
    } finally {
      this.#underWay = undefined;
    }
  }

  /** Looks already at what the zone is made of. */
  get isUnderWay(): boolean {
    return this.#underWay !== undefined;
  }

  /** Gives up a start that is under way; settles when it has been. */
  async giveUp(why: string): Promise<void> {
    this.#underWay?.abort.abort(bridgeError("CANCELLED", "CANCELLED", why));
    await this.#underWay?.settled;
  }

  async #start(hold: boolean, progress: ProgressFn, signal: AbortSignal): Promise<void> {
    const { holdings, journal, files, removeUnstarted } = this.#zone;
    let prepared: Prepared;
    try {
      prepared = await holdings.take(journal.record, files);
      this.#mustBeCreated(); // still
    } catch (thrown) {
      await holdings.giveBack(journal.record.id);
      if (journal.record.spec.autoRemove) await removeUnstarted();
      throw thrown;
    }
    await this.#launch(prepared, hold, progress, signal);
  }

  async #launch({ mounts, ports }: Prepared, hold: boolean, progress: ProgressFn, signal: AbortSignal): Promise<void> {
    const { journal, context, listener, files, take, finish } = this.#zone;
    const { spec } = journal.record;
    // Written while the domain is being made: whichever of the two a crash leaves out, a later bridge ends the zone.
    const taken = { volumes: volumesOf(spec.mounts ?? []), ports, vcpus: vcpusFor(spec.cpuMillis ?? 0) };
    const recorded = journal.apply({ type: "start" }, taken);
    recorded.catch(() => {});
    let written: Promise<void>;
    try {
      const { run, timings } = await launch(journal.record, context, {
        hold,
        mounts,
        progress,
        signal,
        onDomain: async (domain) => {
          await recorded;
          await journal.apply({ type: "domain-made", domain: domain.record });
        },
        listener,
      });
      const startedAt = Date.now();
      const heldUntil = hold ? { heldUntil: startedAt + context.holdMs } : {};
      written = journal.apply({ type: "main-started", startedAt, timings, ...heldUntil });
      take(run);
    } catch (thrown) {
      const error = ZoneError.from(thrown);
      await finish(startFailure(error));
      throw error;
    } finally {
      files.clear();
    }
    // A zone that runs goes on when only its record could not be written.
    await written;
  }

  #mustBeCreated(): void {
    if (this.#zone.isBeingRemoved) throw this.#notCreated("being removed");
    const { state } = this.#zone.journal.record.life;
    if (state !== "created") throw this.#notCreated(state);
  }

  #notCreated(state: string): ZoneError {
    const { name } = this.#zone.journal.record;
    const message = `zone ${name} is ${state}: only a zone that is created can be started`;
    return bridgeError("FAILED_PRECONDITION", "ZONE_NOT_CREATED", message, { type: "zone", name });
  }
}
