import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Logger } from "pino";
import type { Domain } from "../domains/driver.js";
import { errorMessage } from "../errors.js";
import { AgentLogFollower } from "../logs/agent-log-follower.js";
import { LogFile } from "../logs/log-file.js";
import { followOutput } from "../logs/output-follower.js";
import { MAIN } from "./main-spec.js";
import type { KeptClock, TimeKeeper } from "./time-keeper.js";
import { followEvents } from "./zone-events.js";
import { delay, type LinkListener, persist, ZoneLink } from "./zone-link.js";

export const MAIN_LOG = "main.log";
export const AGENT_LOG = "agent.log";
export const CONSOLE_LOG = "console.log";
/** Of each of a log's two files. */
const MAIN_LOG_BYTES = 8 * 1024 * 1024;
const AGENT_LOG_BYTES = 512 * 1024;
/** A zone that has just been started has its cpu to itself for so long, before its logs are followed. Nothing is lost by it. */
export const SETTLE_MS = 100;

export interface RunningZoneOptions {
  /** For its logs. */
  directory: string;
  id: string;
  domain: Domain;
  /** The domain stands still. */
  paused?: boolean;
  listener: RunListener;
  clocks: TimeKeeper;
  log: Logger;
}

/** Who wants to know what happens in a zone. */
export interface RunListener extends LinkListener {
  /** The kernel has killed a process of its container for want of memory. */
  onOom(): void;
}

/** What a zone has while its domain lives: the link to its agent, its clock, and the logs that are taken from it. */
export class RunningZone {
  readonly domain: Domain;
  readonly link: ZoneLink;
  readonly clock: KeptClock;
  readonly mainLog: LogFile;
  readonly agentLog: LogFile;
  readonly #directory: string;
  readonly #log: Logger;
  readonly #listener: RunListener;
  readonly #paused: boolean;
  readonly #detached = new AbortController();
  /** Settles when the main process's output is in its log to the end. Never rejects. */
  outputTaken: Promise<void> = new Promise(() => {});
  #following: Promise<unknown> = Promise.resolve();

  private constructor(options: RunningZoneOptions, link: ZoneLink, logs: [LogFile, LogFile]) {
    [this.mainLog, this.agentLog] = logs;
    this.#directory = options.directory;
    this.domain = options.domain;
    this.link = link;
    this.#log = options.log;
    this.#listener = options.listener;
    const client = (timeoutMs: number) => link.client(this.detached, timeoutMs);
    this.clock = options.clocks.keep(client, options.log);
    this.clock.suspend(); // while it is being started, its clock is set in the course of that
    this.#paused = options.paused ?? false;
  }

  /** Begins to open the link at once: the domain may still be stopped. */
  static async open(options: RunningZoneOptions): Promise<RunningZone> {
    const { directory, domain, listener } = options;
    let run: RunningZone | undefined;
    const heard: LinkListener = {
      onLink: (event) => {
        listener.onLink(event);
        // Nobody has kept its clock while its link was down; the host may have slept.
        if (event === "link-up") void run?.clock.check();
      },
      onInfo: (info) => listener.onInfo(info),
    };
    const link = new ZoneLink(domain.record.link, options.id, heard, options.paused);
    try {
      await mkdir(directory, { recursive: true, mode: 0o700 });
      const mainLog = await LogFile.open(join(directory, MAIN_LOG), MAIN_LOG_BYTES);
      const agentLog = await LogFile.open(join(directory, AGENT_LOG), AGENT_LOG_BYTES);
      run = new RunningZone(options, link, [mainLog, agentLog]);
      return run;
    } catch (thrown) {
      await link.close();
      throw thrown;
    }
  }

  /** Aborts when the bridge lets go of the zone, whether that has ended or not. */
  get detached(): AbortSignal {
    return this.#detached.signal;
  }

  /** Takes the logs and keeps the clock from now on, however often the link is remade. */
  follow(afterMs: number): void {
    if (!this.#paused) this.clock.resume();
    const { signal } = this.#detached;
    const onFailure = (error: Error) =>
      this.#log.warn({ error: error.message }, "a log cannot be followed; trying again");
    const again = { signal, onFailure };
    const agentLog = new AgentLogFollower(this.agentLog);
    const ready = delay(afterMs, signal);
    const isUnknown = (error: { reason: string }) => error.reason === "PROCESS_UNKNOWN";
    const taken = ready.then(() =>
      persist(async () => followOutput(await this.link.client(signal), MAIN, this.mainLog, signal), {
        ...again,
        isFinal: isUnknown,
      }),
    );
    const taking = ready.then(() =>
      persist(async () => agentLog.follow(await this.link.session(signal), signal), { ...again, isFinal: () => false }),
    );
    const telling = ready.then(() =>
      persist(async () => followEvents(await this.link.client(signal), signal, () => this.#listener.onOom()), {
        ...again,
        isFinal: () => false,
      }),
    );
    const quietly = () => {}; // PROCESS_UNKNOWN, which ends the zone too; or let go of
    this.outputTaken = taken.catch(quietly);
    this.#following = Promise.all([this.outputTaken, taking.catch(quietly), telling.catch(quietly)]);
  }

  /** Keeps the console's end, for who asks why the zone ended. */
  async saveConsole(): Promise<void> {
    try {
      await writeFile(join(this.#directory, CONSOLE_LOG), await this.domain.console(), { mode: 0o600 });
    } catch (thrown) {
      this.#log.warn({ error: errorMessage(thrown) }, "the zone's console cannot be kept");
    }
  }

  /** The domain stands still: nobody expects an answer. */
  suspend(): void {
    this.clock.suspend();
    this.link.suspend();
  }

  /** The domain runs again. */
  resume(): void {
    this.link.resume();
    this.clock.resume();
  }

  /** Closes link and logs; the domain goes on as it is. */
  async letGo(): Promise<void> {
    this.#detached.abort();
    this.clock.stop();
    await this.link.close();
    await this.#following;
    await Promise.all([this.mainLog.finish(), this.agentLog.finish()]);
  }
}
