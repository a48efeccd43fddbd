import { rm } from "node:fs/promises";
import { join } from "node:path";
import type * as grpc from "@grpc/grpc-js";
import { ZoneError } from "@zone/proto";
import type { Logger } from "pino";
import type { Domain, ProgressFn } from "../domains/driver.js";
import { bridgeError, errorMessage } from "../errors.js";
import type { LogFile } from "../logs/log-file.js";
import type { ZoneRecord } from "../state/zone-record.js";
import { deferred } from "./deferred.js";
import { keepUntilEnd, memoryLimitOf, ofMain } from "./ending.js";
import { launch, startFailure } from "./launch.js";
import { type MainExit, NO_EXIT_CODE, whyNotRunning, type ZoneEnd } from "./life.js";
import { MAIN } from "./main-spec.js";
import { volumesOf } from "./mount-plan.js";
import type { ZoneFile } from "./mount-spec.js";
import type { OpenPorts, PortTarget } from "./ports.js";
import { type Prepared, prepare } from "./preparing.js";
import { type RunListener, RunningZone, SETTLE_MS } from "./running-zone.js";
import { vcpusFor } from "./spec.js";
import { stopMain } from "./stopping.js";
import { ZoneChanges } from "./zone-changes.js";
import type { ZoneContext } from "./zone-context.js";
import { ZoneJournal } from "./zone-journal.js";
import { delay } from "./zone-link.js";
import type { ZoneMessage } from "./zone-message.js";

/** For a call whose link is being remade. */
const LINK_WAIT_MS = 5000;
/** For the news that a domain has ended, after its link was lost. */
const NEWS_MS = 500;
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
    onOom: () => void this.#journal.noteRevision({ oomKilled: true }, "oom"),
  };
  /** Content of its files mounts, in memory alone, until it is started. */
  readonly #files: Map<string, readonly ZoneFile[]>;
  /** What a client may change while it runs. */
  readonly changes: ZoneChanges;
  #run: RunningZone | undefined;
  #ports: OpenPorts | undefined;
  #starting: AbortController | undefined;
  #stopping: Promise<void> | undefined;
  #removing: Promise<void> | undefined;

  /** `onRemoved` is called when the zone is no more. `files` is what its files mounts begin with, by target. */
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
    this.#files = files;
    const zone = this;
    this.changes = new ZoneChanges({
      journal: this.#journal,
      context,
      log: this.#log,
      files,
      get run() {
        return zone.#run;
      },
      notRunning: () => this.notRunning(),
    });
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

  /** Gives it another name. Whoever asks has made sure that the name is free. */
  rename(name: string): Promise<void> {
    const { spec } = this.record;
    return this.#journal.revise({ name, spec: { ...spec, name } }, "updated");
  }

  /**
   * Answers with the main process started, or held. Rejects with why it could not be: the zone is CREATED as before when the host
   * lacks what it asks for (a port, a volume, files), else it is ENDED; in both cases it is removed when it has auto_remove.
   */
  async start(hold: boolean, progress: ProgressFn, signal: AbortSignal): Promise<void> {
    this.#mustBeCreated();
    this.#starting = new AbortController();
    try {
      const prepared = await this.#prepare();
      await this.#launch(prepared, hold, progress, AbortSignal.any([signal, this.#starting.signal]));
    } finally {
      this.#starting = undefined;
    }
  }

  async #prepare(): Promise<Prepared> {
    try {
      const prepared = await prepare(this.record, this.#files, this.#context, this.#portTarget);
      this.#ports = prepared.ports;
      this.#mustBeCreated("prepared");
      return prepared;
    } catch (thrown) {
      await this.#giveBack();
      if (this.record.spec.autoRemove) await this.remove(false);
      throw thrown;
    }
  }

  #mustBeCreated(now?: "prepared"): void {
    if (this.record.life.state === "created" && !this.#removing && (now || !this.#starting)) return;
    const state = this.#removing ? "being removed" : this.#starting ? "being started" : this.record.life.state;
    const message = `zone ${this.name} is ${state}: only a zone that is created can be started`;
    throw this.#precondition("ZONE_NOT_CREATED", message);
  }

  async #launch({ mounts, ports }: Prepared, hold: boolean, progress: ProgressFn, signal: AbortSignal): Promise<void> {
    const { spec } = this.record;
    const vcpus = vcpusFor(spec.cpuMillis ?? 0);
    // Written while the domain is being made: whichever of the two a crash leaves out, a later bridge ends the zone.
    const taken = { volumes: volumesOf(spec.mounts ?? []), ports: ports.ports, vcpus };
    const recorded = this.#journal.apply({ type: "start" }, taken);
    recorded.catch(() => {});
    try {
      const { run, timings } = await launch(this.record, this.#context, {
        hold,
        mounts,
        progress,
        signal,
        onDomain: async (domain) => {
          await recorded;
          await this.#journal.apply({ type: "domain-made", domain: domain.record });
        },
        listener: this.#listener,
      });
      const startedAt = Date.now();
      const heldUntil = hold ? { heldUntil: startedAt + this.#context.holdMs } : {};
      const written = this.#journal.apply({ type: "main-started", startedAt, timings, ...heldUntil });
      this.#take(run, SETTLE_MS);
      this.#files.clear();
      await written;
    } catch (thrown) {
      const error = ZoneError.from(thrown);
      // A zone that runs goes on when only its record could not be written.
      if (!this.#run) await this.#finish(startFailure(error));
      throw error;
    }
  }

  /** Takes up a zone that an earlier bridge left. */
  async adopt(): Promise<void> {
    const { life, spec, volumes } = this.record;
    if (life.state === "created") return;
    if (life.state === "ended") {
      this.#begun.resolve();
      this.#ended.resolve();
      if (spec.autoRemove) await this.remove(false);
      return;
    }
    for (const { volume } of volumes ?? []) this.#context.volumes.take(volume, this);
    const domain = life.domain && (await this.#context.driver.adopt(life.domain));
    if (life.state === "starting") {
      await domain?.destroy();
      const message = "the bridge ended while the zone was being started";
      await this.#finish({ cause: "start-failed", message, exitCode: NO_EXIT_CODE });
    } else if (!domain) {
      const exit = life.state === "stopping" ? life.exit : undefined;
      const lost: ZoneEnd = { cause: "lost", message: "it ended while no bridge ran", exitCode: NO_EXIT_CODE };
      const outcome = exit && ofMain({ kind: "exited", exit }, this.#stopAsked(), memoryLimitOf(spec));
      await this.#finish(outcome ?? lost);
    } else {
      const paused = life.state === "paused";
      // The bridge may have ended between what it did and what it wrote: the record is what a client was told.
      await (paused ? domain.pause() : domain.resume()).catch((error) => this.#log.error({ err: error }, UNEXPECTED));
      await this.#reopenPorts();
      const [directory, listener, { clocks }] = [this.directory, this.#listener, this.#context];
      const run = await RunningZone.open({ directory, id: this.id, domain, paused, listener, clocks, log: this.#log });
      this.#take(run, 0);
      if (this.#stopAsked() && !("exit" in life)) {
        this.#stop(run, DEFAULT_STOP_MS, this.record.stopSignal).catch((error) =>
          this.#log.error({ err: error }, UNEXPECTED),
        );
      }
    }
  }

  /** Ends it: the stop signal, after `timeoutMs` SIGKILL, and then the domain's end. Answers when it is ENDED. Idempotent. */
  async stop(timeoutMs: number, signalNumber = this.record.stopSignal): Promise<void> {
    const { life } = this.record;
    if (life.state === "ended") return;
    if (life.state === "created") throw this.notRunning();
    // Only a zone that runs can end in order.
    if (life.state === "paused")
      await this.changes.resume().catch((error) => this.#log.debug({ err: error }, "not resumed"));
    if (this.#run) {
      await this.#stop(this.#run, timeoutMs, signalNumber);
    } else {
      const message = `zone ${this.name} was stopped while it was being started`;
      this.#starting?.abort(bridgeError("CANCELLED", "CANCELLED", message));
    }
    await this.#ended.promise;
  }

  /** Forgets it; with `force`, kills it first. ZONE_RUNNING otherwise. Idempotent. */
  async remove(force: boolean): Promise<void> {
    const { state } = this.record.life;
    if (state !== "created" && state !== "ended") {
      if (!force) {
        const message = `zone ${this.name} is ${state}: stop it first, or remove it with force`;
        throw this.#precondition("ZONE_RUNNING", message);
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

  /** A client of its agent. ZONE_NOT_RUNNING, or ZONE_UNREACHABLE when the link is not remade within `timeoutMs` and 5 s. */
  async client(signal: AbortSignal, timeoutMs: number): Promise<grpc.Client> {
    const run = this.#run;
    if (!run || this.record.life.state === "paused") throw this.notRunning();
    try {
      return await run.link.client(AbortSignal.any([signal, run.detached]), Math.min(LINK_WAIT_MS, timeoutMs));
    } catch (thrown) {
      throw await this.unreachable(thrown);
    }
  }

  /** Why a call to its agent failed whose link was lost. */
  async unreachable(cause: unknown): Promise<ZoneError> {
    await Promise.race([this.#ended.promise, delay(NEWS_MS)]).catch(() => {});
    if (!this.#run || this.record.life.state === "paused") return this.notRunning();
    const message = `the link to zone ${this.name} is down and being remade: ${errorMessage(cause)}`;
    return bridgeError("UNAVAILABLE", "ZONE_UNREACHABLE", message, { type: "zone", name: this.name }, cause);
  }

  /** Why it cannot be worked with now: ZONE_NOT_RUNNING, ZONE_PAUSED. */
  notRunning(): ZoneError {
    if (this.record.life.state === "paused") {
      return this.#precondition("ZONE_PAUSED", `zone ${this.name} is paused: resume it first`);
    }
    const why = whyNotRunning(this.record.life);
    return this.#precondition("ZONE_NOT_RUNNING", `zone ${this.name} does not run: ${why}`);
  }

  /** The bridge ends, the zone goes on; a start that is under way is given up. */
  async letGo(): Promise<void> {
    if (this.#starting) {
      this.#starting.abort(bridgeError("CANCELLED", "CANCELLED", "the bridge ends"));
      await Promise.race([this.#begun.promise, this.#ended.promise]);
    }
    await this.#ports?.close();
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
    if (!this.#stopAsked()) this.#journal.note({ type: "stop-asked" });
    this.#hurry.abort();
    await run.domain.destroy();
    await this.#ended.promise;
  }

  /** Keeps a running zone, whose logs are followed after `followAfterMs`, and sees it to its end. */
  #take(run: RunningZone, followAfterMs: number): void {
    this.#run = run;
    this.#begun.resolve();
    run.follow(followAfterMs);
    const { life } = this.record;
    const exit = life.state === "stopping" && life.exit ? { exit: life.exit } : {};
    const heldUntil = "heldUntil" in life && life.heldUntil !== undefined ? { heldUntil: life.heldUntil } : {};
    keepUntilEnd(run, {
      containerId: this.#context.isolation === "container" ? MAIN : "",
      ...exit,
      ...heldUntil,
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
    if (this.record.life.state === "paused") await this.changes.resume();
    if (exit.oomKilled && !this.record.oomKilled) await this.#journal.noteRevision({ oomKilled: true }, "oom");
    await this.#journal.note({ type: "main-exited", exit });
  }

  get #portTarget(): PortTarget {
    return {
      client: (signal) => this.client(signal, LINK_WAIT_MS),
      containerId: this.#context.isolation === "container" ? MAIN : "",
    };
  }

  /** Publishes again what an earlier bridge did, at the same ports. */
  async #reopenPorts(): Promise<void> {
    try {
      this.#ports = await this.#context.openPorts(this.record.ports ?? [], this.#portTarget);
    } catch (thrown) {
      this.#log.error({ error: errorMessage(thrown) }, "the ports of a zone cannot be published again");
    }
  }

  /** Gives the host back what the zone had of it. */
  async #giveBack(): Promise<void> {
    const ports = this.#ports;
    this.#ports = undefined;
    await ports?.close().catch((error) => this.#log.error({ err: error }, UNEXPECTED));
    this.#context.volumes.release(this.id);
  }

  /** The end of a zone of which nothing runs any more. */
  async #finish(end: ZoneEnd): Promise<void> {
    await this.#giveBack();
    await this.#journal.note({ type: "ended", endedAt: Date.now(), ...end });
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

  #precondition(reason: string, message: string): ZoneError {
    return bridgeError("FAILED_PRECONDITION", reason, message, { type: "zone", name: this.name });
  }
}
