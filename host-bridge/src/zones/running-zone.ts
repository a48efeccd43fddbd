import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Logger } from "pino";
import type { Domain } from "../domains/driver.js";
import { errorMessage } from "../errors.js";
import { AgentLogFollower } from "../logs/agent-log-follower.js";
import { LogFile } from "../logs/log-file.js";
import { followOutput } from "../logs/output-follower.js";
import { MAIN } from "./spec.js";
import { delay, type LinkListener, persist, ZoneLink } from "./zone-link.js";

export const MAIN_LOG = "main.log";
export const AGENT_LOG = "agent.log";
export const CONSOLE_LOG = "console.log";
/** Of each of a log's two files. */
const MAIN_LOG_BYTES = 8 * 1024 * 1024;
const AGENT_LOG_BYTES = 512 * 1024;
/** A zone that has just been started has its cpu to itself for so long, before its logs are followed. Nothing is lost by it. */
export const SETTLE_MS = 100;

/** What a zone has while its domain lives: the link to its agent, and the logs that are taken from it. */
export class RunningZone {
  readonly domain: Domain;
  readonly link: ZoneLink;
  readonly mainLog: LogFile;
  readonly agentLog: LogFile;
  readonly #directory: string;
  readonly #log: Logger;
  readonly #detached = new AbortController();
  /** Settles when the main process's output is in its log to the end. Never rejects. */
  outputTaken: Promise<void> = new Promise(() => {});
  #following: Promise<unknown> = Promise.resolve();

  private constructor(directory: string, domain: Domain, link: ZoneLink, logs: [LogFile, LogFile], log: Logger) {
    [this.mainLog, this.agentLog] = logs;
    this.#directory = directory;
    this.domain = domain;
    this.link = link;
    this.#log = log;
  }

  /** Begins to open the link at once: the domain may still be stopped. */
  static async open(
    directory: string,
    id: string,
    domain: Domain,
    listener: LinkListener,
    log: Logger,
  ): Promise<RunningZone> {
    const link = new ZoneLink(domain.record.link, id, listener);
    try {
      await mkdir(directory, { recursive: true, mode: 0o700 });
      const mainLog = await LogFile.open(join(directory, MAIN_LOG), MAIN_LOG_BYTES);
      const agentLog = await LogFile.open(join(directory, AGENT_LOG), AGENT_LOG_BYTES);
      return new RunningZone(directory, domain, link, [mainLog, agentLog], log);
    } catch (thrown) {
      await link.close();
      throw thrown;
    }
  }

  /** Aborts when the bridge lets go of the zone, whether that has ended or not. */
  get detached(): AbortSignal {
    return this.#detached.signal;
  }

  /** Takes the logs from now on, however often the link is remade. */
  follow(afterMs: number): void {
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
    const quietly = () => {}; // PROCESS_UNKNOWN, which ends the zone too; or let go of
    this.outputTaken = taken.catch(quietly);
    this.#following = Promise.all([this.outputTaken, taking.catch(quietly)]);
  }

  /** Keeps the console's end, for who asks why the zone ended. */
  async saveConsole(): Promise<void> {
    try {
      await writeFile(join(this.#directory, CONSOLE_LOG), await this.domain.console(), { mode: 0o600 });
    } catch (thrown) {
      this.#log.warn({ error: errorMessage(thrown) }, "the zone's console cannot be kept");
    }
  }

  /** Closes link and logs; the domain goes on as it is. */
  async letGo(): Promise<void> {
    this.#detached.abort();
    await this.link.close();
    await this.#following;
    await Promise.all([this.mainLog.finish(), this.agentLog.finish()]);
  }
}
