import { rm } from "node:fs/promises";
import { join } from "node:path";
import type { Logger } from "pino";
import type { Domain, ProgressFn } from "../domains/driver.js";
import { bridgeError, errorMessage } from "../errors.js";
import type { LogFile } from "../logs/log-file.js";
import type { ZoneRecord } from "../state/zone-record.js";
import { adoptZone } from "./adopting.js";
import { deferred } from "./deferred.js";
import { keepUntilEnd, knownOf, memoryLimitOf } from "./ending.js";
import { Holdings } from "./holdings.js";
import { type MainExit, NO_EXIT_CODE, type ZoneEnd } from "./life.js";
import { MAIN } from "./main-spec.js";
import type { ZoneFile } from "./mount-spec.js";
import type { PortTarget } from "./ports.js";
import { type RunListener, type RunningZone, SETTLE_MS } from "./running-zone.js";
import { type StartableZone, ZoneStart } from "./starting.js";
import { stopMain, syncVolumes } from "./stopping.js";
import { type ReachableZone, ZoneAccess } from "./zone-access.js";
import { type ChangeableZone, ZoneChanges } from "./zone-changes.js";
import type { ZoneContext } from "./zone-context.js";
import { ZoneJournal } from "./zone-journal.js";
import type { ZoneMessage } from "./zone-message.js";

export const DEFAULT_STOP_MS = 10_000;
const UNEXPECTED = "what should not fail has failed";

/** A zone: its record, and what runs for it. What is kept of it is in its journal. */
export class Zone {
  readonly #context: ZoneContext;
  readonly #log: Logger;
  readonly #onRemoved: () => void;
  readonly #begun = deferred();
  readonly #ended = deferred();
  /** Aborts when slow clients are not waited for any more. */
  readonly #hurry = new AbortController();
  readonly #journal: ZoneJournal;
  readonly #listener: RunListener = {
    onLink: (event) => this.#journal.noteLink(event),
    onInfo: (info) => this.#journal.noteFacts(info),
    onOom: () => this.#journal.noteOom(),
  };
  /** What a client may change while it runs. */
  readonly changes: ZoneChanges;
  /** How its agent is reached. */
  readonly access: ZoneAccess;
  readonly #start: ZoneStart;
  readonly #holdings: Holdings;
  #run: RunningZone | undefined;
  #stopping: Promise<void> | undefined;
  #removing: Promise<void> | undefined;

  /** `onRemoved` is called when the zone is no more. `files` is what its files mounts begin with, by target: it is in memory alone. */
  constructor(
    record: ZoneRecord,
    context: ZoneContext,
    onRemoved: () => void,
    files = new Map<string, readonly ZoneFile[]>(),
  ) {
    this.#context = context;
    this.#log = context.log.child({ zone: record.id, name: record.name });
    this.#journal = new ZoneJournal(record, context.store, context.events, this.#log);
    this.#onRemoved = onRemoved;
    const containerId = context.isolation === "container" ? MAIN : "";
    const target: PortTarget = {
      client: (signal) => this.access.client(signal),
      address: () => this.#run?.domain.guestAddress(),
      containerId,
    };
    this.#holdings = new Holdings(context, target, this.#log);
    const view = this.#view(files);
    this.access = new ZoneAccess(view);
    this.#start = new ZoneStart(view);
    this.changes = new ZoneChanges(view);
  }

  /** What the parts that it is made of see of it. */
  #view(files: Map<string, readonly ZoneFile[]>): ReachableZone & StartableZone & ChangeableZone {
    const zone = this;
    return {
      journal: this.#journal,
      context: this.#context,
      holdings: this.#holdings,
      listener: this.#listener,
      log: this.#log,
      files,
      ended: this.#ended.promise,
      get run() {
        return zone.#run;
      },
      get record() {
        return zone.record;
      },
      get isBeingRemoved() {
        return zone.#removing !== undefined;
      },
      get isBeingStarted() {
        return zone.#start.isUnderWay;
      },
      notRunning: () => this.access.notRunning(),
      take: (run) => this.#take(run, SETTLE_MS),
      finish: (end) => this.#finish(end),
      removeUnstarted: () => this.remove(false),
    };
  }

  get id(): string {
    return this.record.id;
  }

  get name(): string {
    return this.record.name;
  }

  get record(): ZoneRecord {
    return this.#journal.record;
  }

  get directory(): string {
    return join(this.#context.zonesDir, this.id);
  }

  /** While it runs. */
  get running(): { mainLog: LogFile; agentLog: LogFile; domain: Domain } | undefined {
    return this.#run;
  }

  message(): ZoneMessage {
    return this.#journal.message();
  }

  /** Records a new zone; only then is it there. */
  add(): Promise<void> {
    return this.#journal.create();
  }

  /**
   * Answers with the main process started, or held. Rejects with why it could not be: the zone is CREATED as before when the host
   * lacks what it asks for (a port, a volume, files), else it is ENDED; in both cases it is removed when it has auto_remove.
   */
  start(hold: boolean, progress: ProgressFn, signal: AbortSignal): Promise<void> {
    return this.#start.start(hold, progress, signal);
  }

  /** Takes up a zone that an earlier bridge left. */
  async adopt(): Promise<void> {
    const { life, spec } = this.record;
    if (life.state === "created") return;
    if (life.state === "ended") {
      this.#begun.resolve();
      this.#ended.resolve();
      if (spec.autoRemove) await this.remove(false);
      return;
    }
    const [record, context, holdings, listener] = [this.record, this.#context, this.#holdings, this.#listener];
    const adopted = await adoptZone({ record, context, holdings, listener, directory: this.directory, log: this.#log });
    if (adopted.kind === "ended") return this.#finish(adopted.end);
    const { run } = adopted;
    this.#take(run, 0);
    if (this.#stopAsked() && !("exit" in life)) {
      this.#stop(run, DEFAULT_STOP_MS, this.record.stopSignal).catch((error) =>
        this.#log.error({ err: error }, UNEXPECTED),
      );
    }
  }

  /** Ends it: the stop signal, after `timeoutMs` SIGKILL, and then the domain's end. Answers when it is ENDED. Idempotent. */
  async stop(timeoutMs: number, signalNumber = this.record.stopSignal): Promise<void> {
    const { life } = this.record;
    if (life.state === "ended") return;
    if (life.state === "created") throw this.access.notRunning();
    // Only a zone that runs can end in order.
    if (life.state === "paused")
      await this.changes.resume().catch((error) => this.#log.debug({ err: error }, "not resumed"));
    if (this.#run) {
      await this.#stop(this.#run, timeoutMs, signalNumber);
    } else {
      await this.#start.giveUp(`zone ${this.name} was stopped while it was being started`);
    }
    await this.#ended.promise;
  }

  /** Forgets it; with `force`, kills it first. ZONE_RUNNING otherwise. Idempotent. */
  async remove(force: boolean): Promise<void> {
    const { state } = this.record.life;
    if (state !== "created" && state !== "ended") {
      if (!force) {
        const message = `zone ${this.name} is ${state}: stop it first, or remove it with force`;
        throw bridgeError("FAILED_PRECONDITION", "ZONE_RUNNING", message, { type: "zone", name: this.name });
      }
      await this.#kill();
    }
    this.#removing ??= this.#remove().catch((error) => {
      this.#removing = undefined; // to be tried again
      throw error;
    });
    await this.#removing;
  }

  /** Answers when it is ENDED; rejects when it is removed without having run. */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  /** Answers when it has been started, or never will be. */
  get begun(): Promise<void> {
    return this.#begun.promise;
  }

  /** The bridge ends, the zone goes on; a start that is under way is given up, a change is waited for, for a while. */
  async letGo(): Promise<void> {
    await this.#start.giveUp("the bridge ends");
    await this.changes.settled();
    await this.#holdings.closePorts();
    await this.#run?.letGo();
    await this.#journal.idle();
  }

  /** Whoever asks while it is being stopped waits for that. */
  #stop(run: RunningZone, timeoutMs: number, signal: number): Promise<void> {
    if (!this.#stopping) {
      this.#journal.note({ type: "stop-asked" });
      this.#hurry.abort();
      this.#stopping = stopMain(run, { signal, timeoutMs, ended: this.#ended.promise, log: this.#log });
    }
    return this.#stopping;
  }

  async #kill(): Promise<void> {
    const run = this.#run;
    if (!run) return this.stop(0);
    const toSync = this.record.volumes?.some(({ readOnly }) => !readOnly);
    if (toSync && this.record.life.state === "paused") await this.changes.resume().catch(() => {}); // then nothing is synced
    if (!this.#stopAsked()) this.#journal.note({ type: "stop-asked" });
    this.#hurry.abort();
    if (toSync) await syncVolumes(run, this.#log);
    await run.domain.destroy();
    await this.#ended.promise;
  }

  /** Keeps a running zone, whose logs are followed after `followAfterMs`, and sees it to its end. */
  #take(run: RunningZone, followAfterMs: number): void {
    this.#run = run;
    this.#begun.resolve();
    run.follow(followAfterMs);
    keepUntilEnd(run, {
      containerId: this.#context.isolation === "container" ? MAIN : "",
      ...knownOf(this.record.life),
      onExit: (mainExit) => this.#onMainExit(mainExit),
      stopAsked: () => this.#stopAsked(),
      memoryLimit: () => memoryLimitOf(this.record.spec),
      hurry: this.#hurry.signal,
      log: this.#log,
    })
      .catch((error): ZoneEnd => {
        this.#log.error({ err: error }, UNEXPECTED);
        return { cause: "lost", message: `it could not be ended: ${errorMessage(error)}`, exitCode: NO_EXIT_CODE };
      })
      .then(async (end) => {
        if (!end) return;
        await run.saveConsole();
        await run.letGo().catch((error) => this.#log.error({ err: error }, UNEXPECTED));
        this.#run = undefined;
        await this.#finish(end);
      });
  }

  async #onMainExit(exit: MainExit): Promise<void> {
    // News that was under way when the zone was paused: what is left of it has to run to its end.
    if (this.record.life.state === "paused")
      await this.changes.resume().catch((error) => this.#log.error({ err: error }, UNEXPECTED));
    if (exit.oomKilled && !this.record.oomKilled) this.#journal.noteOom();
    await this.#journal.note({ type: "main-exited", exit });
  }

  /** The end of a zone of which nothing runs any more. */
  async #finish(end: ZoneEnd): Promise<void> {
    // Before anybody hears of the end: what it had may be wanted by another zone then.
    const givenBack = this.#holdings.giveBack(this.id);
    await this.#journal.note({ type: "ended", endedAt: Date.now(), ...end });
    await givenBack;
    this.#begun.resolve();
    this.#ended.resolve();
    if (this.record.spec.autoRemove) {
      await this.remove(false).catch((error) => this.#log.error({ err: error }, UNEXPECTED));
    }
  }

  async #remove(): Promise<void> {
    await this.#journal.remove();
    await rm(this.directory, { recursive: true, force: true });
    this.#begun.resolve();
    this.#ended.reject(bridgeError("NOT_FOUND", "ZONE_UNKNOWN", `zone ${this.name} has been removed`));
    this.#onRemoved();
  }

  #stopAsked(): boolean {
    const { life } = this.record;
    return life.state === "stopping" && life.by === "client";
  }
}
