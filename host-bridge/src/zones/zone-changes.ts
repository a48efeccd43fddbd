import type { ZoneError } from "@zone/proto";
import type { Logger } from "pino";
import { bridgeError, errorMessage } from "../errors.js";
import type { VolumeUse } from "../state/zone-record.js";
import { MAIN } from "./main-spec.js";
import { agentFile, checkContents, volumeSerial } from "./mount-plan.js";
import { checkFiles, type ZoneFile } from "./mount-spec.js";
import type { RunningZone } from "./running-zone.js";
import { hostnameOf } from "./spec.js";
import { quote } from "./spec-error.js";
import { hostClock, setClock } from "./time-keeper.js";
import { applyUpdate, checkUpdate, type Update } from "./updating.js";
import { attachVolume, CALL_MS, detachVolume, mountsOf, resizeMount } from "./volume-changes.js";
import type { ZoneContext } from "./zone-context.js";
import type { ZoneJournal } from "./zone-journal.js";
import { delay } from "./zone-link.js";

/** For a change to be made, or to fail, before the bridge ends. */
const SETTLED_MS = 3_000;
/** For a resumed agent to answer; its clock is looked at again later in any case. */
const RESUMED_MS = 5_000;

/** What of a zone its changes need. */
export interface ChangeableZone {
  readonly journal: ZoneJournal;
  readonly context: ZoneContext;
  readonly log: Logger;
  /** While it runs, or stands still. */
  readonly run: RunningZone | undefined;
  readonly isBeingStarted: boolean;
  /** Content of files mounts, until the zone is started. */
  readonly files: Map<string, readonly ZoneFile[]>;
  notRunning(): ZoneError;
}

/** The changes that a client asks for in a zone that runs: one after the other, each as a whole or not at all. */
export class ZoneChanges {
  readonly #zone: ChangeableZone;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(zone: ChangeableZone) {
    this.#zone = zone;
  }

  /** Stops the zone's cpus. ZONE_PAUSED when they stand still already. */
  pause(): Promise<void> {
    return this.#inTurn(async () => {
      const run = this.#running();
      const { journal } = this.#zone;
      run.suspend();
      try {
        await run.domain.pause();
        // It may have ended, or been told to, meanwhile.
        if (journal.record.life.state !== "running") throw this.#zone.notRunning();
        await journal.apply({ type: "paused" });
      } catch (thrown) {
        if (journal.record.life.state === "paused") await journal.note({ type: "resumed" });
        await run.domain.resume().catch((error) => this.#failedToUndo(error));
        run.resume();
        throw thrown;
      }
    });
  }

  /** Lets them run again, and sets the clock. ZONE_NOT_PAUSED. */
  resume(): Promise<void> {
    return this.#inTurn(async () => {
      const { journal, run } = this.#zone;
      const { name, life } = journal.record;
      if (!run || life.state === "created" || life.state === "ended") throw this.#zone.notRunning();
      if (life.state !== "paused") {
        const message = `zone ${name} is ${life.state}, not paused`;
        throw bridgeError("FAILED_PRECONDITION", "ZONE_NOT_PAUSED", message, { type: "zone", name });
      }
      await run.domain.resume();
      await journal.note({ type: "resumed" });
      run.resume();
      try {
        await setClock(await run.link.client(AbortSignal.timeout(RESUMED_MS), RESUMED_MS), hostClock);
      } catch (thrown) {
        this.#zone.log.warn({ error: errorMessage(thrown) }, "the clock of a resumed zone is not known to be right");
        void run.clock.check();
      }
    });
  }

  /** Changes its resources. The errors of checkUpdate, of Domain.setMemory and setVcpus, and the agent's. */
  update(update: Update): Promise<void> {
    return this.#inTurn(async () => {
      const { journal, context, log } = this.#zone;
      const { record } = journal;
      if (record.life.state === "created") {
        const spec = checkUpdate(record.spec, update, { kind: "created", host: context.host });
        await journal.reviseWhole({ spec }, "updated");
        return;
      }
      const run = this.#running();
      const spec = checkUpdate(record.spec, update, { kind: "running", host: context.host });
      await applyUpdate({ run, journal, log, contained: this.#contained }, spec);
    });
  }

  /** Gives it another name; answers with the one before. Whoever asks has made sure that the name is free. */
  rename(name: string): Promise<string> {
    return this.#inTurn(async () => {
      const { journal } = this.#zone;
      const { name: before, spec } = journal.record;
      // As with Docker: the hostname, which its environment has too, stays what it was.
      await journal.reviseWhole({ name, spec: { ...spec, name, hostname: hostnameOf(spec) } }, "updated");
      return before;
    });
  }

  /** Gives a running zone a volume at `use.target`. VOLUME_IN_USE, INVALID_MOUNT, HOTPLUG_UNSUPPORTED... */
  attachVolume(use: VolumeUse): Promise<void> {
    return this.#inTurn(() => attachVolume(this.#zone, this.#running(), use));
  }

  /** Takes a volume away. VOLUME_UNKNOWN, VOLUME_BUSY. */
  detachVolume(volume: string): Promise<void> {
    return this.#inTurn(() => detachVolume(this.#zone, this.#running(), volume));
  }

  /** The file of one of its volumes has grown to `bytes`: tells the zone, and grows the file system. */
  volumeGrown(volume: string, bytes: number): Promise<void> {
    return this.#inTurn(async () => {
      const { run, journal } = this.#zone;
      const use = journal.record.volumes?.find((each) => each.volume === volume);
      const { state } = journal.record.life;
      if (!run || !use || (state !== "running" && state !== "paused")) return; // at its next mount
      await run.domain.resizeDisk(volumeSerial(volume), bytes);
      if (state === "running" && !use.readOnly) await resizeMount(this.#zone, run, use);
    });
  }

  /** Replaces the content of a files mount. INVALID_FILES; ZONE_NOT_CREATED, ZONE_NOT_RUNNING while the zone is being started. */
  updateFiles(target: string, files: readonly ZoneFile[]): Promise<void> {
    return this.#inTurn(async () => {
      checkFiles(files);
      const { journal, files: kept } = this.#zone;
      const { name, life, spec } = journal.record;
      const mount = spec.mounts?.find((each) => each.files && each.target === target);
      if (!mount) {
        const message = `zone ${name} has no files mount at ${quote(target)}`;
        throw bridgeError("INVALID_ARGUMENT", "INVALID_FILES", message, { type: "zone", name });
      }
      if (life.state === "created") {
        // What a start has read already is not to be taken for what it starts with.
        if (this.#zone.isBeingStarted) {
          const message = `zone ${name} is being started: give the files when it runs`;
          throw bridgeError("FAILED_PRECONDITION", "ZONE_NOT_CREATED", message, { type: "zone", name });
        }
        checkContents(name, new Map([...kept, [target, files]]));
        kept.set(target, files);
        return;
      }
      const mounts = await mountsOf(this.#running());
      await mounts.updateFiles({ containerId: MAIN, target, files: files.map(agentFile) }, { timeoutMs: CALL_MS });
    });
  }

  get #contained(): boolean {
    return this.#zone.context.isolation === "container";
  }

  /** ZONE_PAUSED, ZONE_NOT_RUNNING. */
  #running(): RunningZone {
    const { run, journal } = this.#zone;
    if (!run || journal.record.life.state !== "running") throw this.#zone.notRunning();
    return run;
  }

  #failedToUndo(error: unknown): void {
    this.#zone.log.error({ error: errorMessage(error) }, "a change that failed could not be undone");
  }

  /** Settles when those that have been asked for so far have been made, or have failed; after 3 s in any case. */
  async settled(): Promise<void> {
    const late = new AbortController();
    await Promise.race([this.#turn, delay(SETTLED_MS, late.signal)]);
    late.abort();
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(work);
    this.#turn = turn.catch(() => {});
    return turn;
  }
}
