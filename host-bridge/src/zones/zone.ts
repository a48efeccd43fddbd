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
import { keepUntilEnd, ofMain } from "./ending.js";
import { launch, startFailure } from "./launch.js";
import { NO_EXIT_CODE, whyNotRunning, type ZoneEnd } from "./life.js";
import { RunningZone, SETTLE_MS } from "./running-zone.js";
import { MAIN } from "./spec.js";
import { stopMain } from "./stopping.js";
import type { ZoneContext } from "./zone-context.js";
import { ZoneJournal } from "./zone-journal.js";
import { delay, type LinkListener } from "./zone-link.js";
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
  readonly #listener: LinkListener = {
    onLink: (event) => this.#journal.noteLink(event),
    onInfo: (info) => this.#journal.noteFacts(info),
  };
  #run: RunningZone | undefined;
  #starting: AbortController | undefined;
  #stopping: Promise<void> | undefined;
  #removing: Promise<void> | undefined;

  /** `onRemoved` is called when the zone is no more. */
  constructor(record: ZoneRecord, context: ZoneContext, onRemoved: () => void) {
    this.#context = context;
    this.#log = context.log.child({ zone: record.id, name: record.name });
    this.#journal = new ZoneJournal(record, context.store, context.events, this.#log);
    this.#onRemoved = onRemoved;
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

  /** Answers with the main process started, or held. Rejects with why it could not be: the zone is ENDED then, or removed. */
  async start(hold: boolean, progress: ProgressFn, signal: AbortSignal): Promise<void> {
    if (this.record.life.state !== "created" || this.#removing) {
      const state = this.#removing ? "being removed" : this.record.life.state;
      const message = `zone ${this.name} is ${state}: only a zone that is created can be started`;
      throw this.#precondition("ZONE_NOT_CREATED", message);
    }
    // Written while the domain is being made: whichever of the two a crash leaves out, a later bridge ends the zone.
    const recorded = this.#journal.apply({ type: "start" });
    recorded.catch(() => {});
    this.#starting = new AbortController();
    try {
      const { run, timings } = await launch(this.record, this.#context, {
        hold,
        progress,
        signal: AbortSignal.any([signal, this.#starting.signal]),
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
      await written;
    } catch (thrown) {
      const error = ZoneError.from(thrown);
      // A zone that runs goes on when only its record could not be written.
      if (!this.#run) await this.#finish(startFailure(error));
      throw error;
    } finally {
      this.#starting = undefined;
    }
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
    const domain = life.domain && (await this.#context.driver.adopt(life.domain));
    if (life.state === "starting") {
      await domain?.destroy();
      const message = "the bridge ended while the zone was being started";
      await this.#finish({ cause: "start-failed", message, exitCode: NO_EXIT_CODE });
    } else if (!domain) {
      const exit = life.state === "stopping" ? life.exit : undefined;
      const lost: ZoneEnd = { cause: "lost", message: "it ended while no bridge ran", exitCode: NO_EXIT_CODE };
      await this.#finish(exit ? ofMain({ kind: "exited", exit }, this.#stopAsked()) : lost);
    } else {
      const run = await RunningZone.open(this.directory, this.id, domain, this.#listener, this.#log);
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
    if (!run) throw this.notRunning();
    try {
      return await run.link.client(AbortSignal.any([signal, run.detached]), Math.min(LINK_WAIT_MS, timeoutMs));
    } catch (thrown) {
      throw await this.unreachable(thrown);
    }
  }

  /** Why a call to its agent failed whose link was lost. */
  async unreachable(cause: unknown): Promise<ZoneError> {
    await Promise.race([this.#ended.promise, delay(NEWS_MS)]).catch(() => {});
    if (!this.#run) return this.notRunning();
    const message = `the link to zone ${this.name} is down and being remade: ${errorMessage(cause)}`;
    return bridgeError("UNAVAILABLE", "ZONE_UNREACHABLE", message, { type: "zone", name: this.name }, cause);
  }

  notRunning(): ZoneError {
    const why = whyNotRunning(this.record.life);
    return this.#precondition("ZONE_NOT_RUNNING", `zone ${this.name} does not run: ${why}`);
  }

  /** The bridge ends, the zone goes on; a start that is under way is given up. */
  async letGo(): Promise<void> {
    if (this.#starting) {
      this.#starting.abort(bridgeError("CANCELLED", "CANCELLED", "the bridge ends"));
      await Promise.race([this.#begun.promise, this.#ended.promise]);
    }
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
      onExit: (mainExit) => this.#journal.note({ type: "main-exited", exit: mainExit }),
      stopAsked: () => this.#stopAsked(),
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

  /** The end of a zone of which nothing runs any more. */
  async #finish(end: ZoneEnd): Promise<void> {
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
