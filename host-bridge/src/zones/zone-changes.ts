import { createClient, MountService, ZoneError, type zone } from "@zone/proto";
import type { Logger } from "pino";
import { bridgeError, errorMessage } from "../errors.js";
import type { VolumeUse } from "../state/zone-record.js";
import { MAIN } from "./main-spec.js";
import { agentFile, volumeDisk, volumeMount, volumeSerial } from "./mount-plan.js";
import { checkFiles, type ZoneFile } from "./mount-spec.js";
import type { RunningZone } from "./running-zone.js";
import { quote } from "./spec-error.js";
import { hostClock, setClock } from "./time-keeper.js";
import { Undo } from "./undo.js";
import { applyUpdate, checkUpdate, type Update } from "./updating.js";
import type { ZoneContext } from "./zone-context.js";
import type { ZoneJournal } from "./zone-journal.js";

/** For one call to the agent. */
const CALL_MS = 30_000;
/** For a resumed agent to answer; its clock is looked at again later in any case. */
const RESUMED_MS = 5_000;

/** What of a zone its changes need. */
export interface ChangeableZone {
  readonly journal: ZoneJournal;
  readonly context: ZoneContext;
  readonly log: Logger;
  /** While it runs, or stands still. */
  readonly run: RunningZone | undefined;
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
        await this.#revise({ spec }, { spec: record.spec });
        return;
      }
      const run = this.#running();
      const spec = checkUpdate(record.spec, update, { kind: "running", host: context.host });
      await applyUpdate({ run, journal, log, contained: this.#contained }, spec);
    });
  }

  /** Gives a running zone a volume at `use.target`. VOLUME_IN_USE, INVALID_MOUNT, HOTPLUG_UNSUPPORTED... */
  attachVolume(use: VolumeUse): Promise<void> {
    return this.#inTurn(async () => {
      const { journal, context, log } = this.#zone;
      const { volumes, isAdmin } = context;
      const { id, name, ownerUid } = journal.record;
      const run = this.#running();
      this.#checkFree(use.target);
      await volumes.ensure(use.volume, { uid: ownerUid, admin: isAdmin(ownerUid) });
      volumes.take(use.volume, { id, name });
      const undo = new Undo(log, () => volumes.release(id, use.volume));
      try {
        await run.domain.attachDisk(volumeDisk(use, volumes.pathOf(use.volume)));
        undo.push(() => run.domain.detachDisk(volumeSerial(use.volume)));
        const mounts = await this.#mounts(run);
        await mounts.mount({ containerId: MAIN, mount: volumeMount(use) }, { timeoutMs: CALL_MS });
        undo.push(() => mounts.unmount({ containerId: MAIN, target: use.target }, { timeoutMs: CALL_MS }));
        if (volumes.isGrown(use.volume) && !use.readOnly) await this.#resizeMount(run, use);
        await journal.revise({ volumes: [...this.#volumes, use] }, "volume-attached");
      } catch (thrown) {
        await undo.all();
        throw thrown;
      }
    });
  }

  /** Takes a volume away. VOLUME_UNKNOWN, VOLUME_BUSY. */
  detachVolume(volume: string): Promise<void> {
    return this.#inTurn(async () => {
      const { journal, context, log } = this.#zone;
      const { id, name } = journal.record;
      const run = this.#running();
      const use = this.#volumes.find((each) => each.volume === volume);
      if (!use) throw unknownVolume(name, volume);
      const mounts = await this.#mounts(run);
      await mounts.unmount({ containerId: MAIN, target: use.target }, { timeoutMs: CALL_MS }).catch((thrown) => {
        throw asBusy(ZoneError.from(thrown), use);
      });
      const undo = new Undo(log, () =>
        mounts.mount({ containerId: MAIN, mount: { ...volumeMount(use), copyUp: false } }, { timeoutMs: CALL_MS }),
      );
      try {
        await run.domain.detachDisk(volumeSerial(volume));
      } catch (thrown) {
        await undo.all();
        throw thrown;
      }
      context.volumes.release(id, volume);
      await journal.noteRevision({ volumes: this.#volumes.filter((each) => each !== use) }, "volume-detached");
    });
  }

  /** The file of one of its volumes has grown to `bytes`: tells the zone, and grows the file system. */
  volumeGrown(volume: string, bytes: number): Promise<void> {
    return this.#inTurn(async () => {
      const { run, journal } = this.#zone;
      const use = this.#volumes.find((each) => each.volume === volume);
      const { state } = journal.record.life;
      if (!run || !use || (state !== "running" && state !== "paused")) return; // at its next mount
      await run.domain.resizeDisk(volumeSerial(volume), bytes);
      if (state === "running" && !use.readOnly) await this.#resizeMount(run, use);
    });
  }

  /** Replaces the content of a files mount. INVALID_FILES. */
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
        kept.set(target, files);
        return;
      }
      const mounts = await this.#mounts(this.#running());
      await mounts.updateFiles({ containerId: MAIN, target, files: files.map(agentFile) }, { timeoutMs: CALL_MS });
    });
  }

  get #contained(): boolean {
    return this.#zone.context.isolation === "container";
  }

  get #volumes(): readonly VolumeUse[] {
    return this.#zone.journal.record.volumes ?? [];
  }

  /** ZONE_PAUSED, ZONE_NOT_RUNNING. */
  #running(): RunningZone {
    const { run, journal } = this.#zone;
    if (!run || journal.record.life.state !== "running") throw this.#zone.notRunning();
    return run;
  }

  #checkFree(target: string): void {
    const { spec, name } = this.#zone.journal.record;
    const fixed = (spec.mounts ?? []).some((mount) => !mount.volume && mount.target === target);
    if (!fixed && !this.#volumes.some((use) => use.target === target)) return;
    const message = `zone ${name} has something mounted at ${quote(target)}: choose another target`;
    throw bridgeError("INVALID_ARGUMENT", "INVALID_MOUNT", message, { type: "zone", name });
  }

  async #mounts(run: RunningZone) {
    return createClient(MountService, await run.link.client(run.detached, CALL_MS));
  }

  async #resizeMount(run: RunningZone, { volume, target }: VolumeUse): Promise<void> {
    const mounts = await this.#mounts(run);
    await mounts.resize({ containerId: MAIN, target }, { timeoutMs: CALL_MS });
    await this.#zone.context.volumes.noteGrown(volume);
  }

  async #revise(change: { spec: zone.bridge.v1.ZoneSpec.$Properties }, before: typeof change): Promise<void> {
    const { journal } = this.#zone;
    try {
      await journal.revise(change, "updated");
    } catch (thrown) {
      await journal.noteRevision(before, "updated");
      throw thrown;
    }
  }

  #failedToUndo(error: unknown): void {
    this.#zone.log.error({ error: errorMessage(error) }, "a change that failed could not be undone");
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(work);
    this.#turn = turn.catch(() => {});
    return turn;
  }
}

function unknownVolume(name: string, volume: string): ZoneError {
  const message = `zone ${name} has no volume ${quote(volume)}`;
  return bridgeError("NOT_FOUND", "VOLUME_UNKNOWN", message, { type: "volume", name: volume.slice(0, 80) });
}

function asBusy(error: ZoneError, { volume, target }: VolumeUse): ZoneError {
  if (error.reason !== "MOUNT_BUSY") return error;
  const message = `volume ${volume} is used by a process in the zone (${target}): end it, or leave that folder`;
  return bridgeError("FAILED_PRECONDITION", "VOLUME_BUSY", message, { type: "volume", name: volume }, error);
}
