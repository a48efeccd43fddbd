import { createClient, SystemService, type ZoneError } from "@zone/proto";
import type { Logger } from "pino";
import type { DomainEnd } from "../domains/driver.js";
import { errorMessage } from "../errors.js";
import { exactInteger } from "../numbers.js";
import { endMessage } from "./launch.js";
import { exitCodeOf, type Life, type MainExit, NO_EXIT_CODE, type ZoneEnd } from "./life.js";
import { abandonedMain, clientsServed, type MainOutcome, mainOutcome } from "./main-process.js";
import type { RunningZone } from "./running-zone.js";
import type { ZoneSpec } from "./spec.js";
import { inMib } from "./spec-error.js";
import { delay, isLinkError, persist } from "./zone-link.js";

/** For the log to get the rest of the output, once the main process has ended. */
const LOG_GRACE_MS = 10_000;
const SIGKILL = 9;
/** For processes that are left in the zone, between SIGTERM and SIGKILL. */
const SHUTDOWN_GRACE_MS = 500;
/** For the zone to power itself off, before its domain is destroyed. */
const POWER_OFF_MS = 3000;

export interface KeepOptions {
  /** The container that the main process is the first of; "" without one. */
  containerId: string;
  /** The main process's exit, when it is known already. */
  exit?: MainExit;
  /** Called with the exit before anything else is done about it. */
  onExit: (exit: MainExit) => Promise<void>;
  /** Until when the main process is held for a client, if it is. */
  heldUntil?: number;
  /** Whether a client asked for the end. */
  stopAsked: () => boolean;
  /** The memory that its processes may use, for people. */
  memoryLimit: () => string;
  /** Aborts when clients that have not read their output are not waited for any more. */
  hurry: AbortSignal;
  log: Logger;
}

/**
 * Keeps a running zone to its end: when its main process ends, takes the rest of the output, lets attached clients have
 * theirs, and powers the zone off. Answers when the domain is gone; undefined when the bridge lets go of the zone before.
 */
export async function keepUntilEnd(run: RunningZone, options: KeepOptions): Promise<ZoneEnd | undefined> {
  const { domain, link, detached } = run;
  const { log } = options;
  const onFailure = (error: ZoneError) =>
    log.warn({ error: error.message }, "the main process cannot be waited for; trying again");
  const main: Promise<MainOutcome>[] = options.exit
    ? [Promise.resolve({ kind: "exited", exit: options.exit })]
    : [mainOutcome(link, detached, onFailure)];
  if (options.heldUntil !== undefined) main.push(abandonedMain(link, options.heldUntil, detached, onFailure));
  const first = await Promise.race([
    domain.ended,
    ...main.map((outcome) => outcome.catch(() => never<MainOutcome>())), // let go of, or told by the other one
    aborted(detached),
  ]);
  if (first === undefined) return undefined;
  if ("cause" in first) return ofDomain(first, options.stopAsked());
  if (first.kind === "exited" && !options.exit) await options.onExit(first.exit);
  if (first.kind !== "abandoned") await Promise.race([readersServed(run, options), domain.ended, aborted(detached)]);
  if (detached.aborted) return undefined;
  await powerOff(run, log);
  return ofMain(first, options.stopAsked(), options.memoryLimit());
}

async function readersServed(run: RunningZone, options: KeepOptions): Promise<void> {
  await Promise.race([run.outputTaken, delay(LOG_GRACE_MS, run.detached)]);
  if (options.hurry.aborted) return;
  const signal = AbortSignal.any([options.hurry, run.detached]);
  const isFinal = (error: ZoneError) => !isLinkError(error);
  try {
    await persist(() => clientsServed(run.link, options.containerId, signal), { signal, isFinal, onFailure: () => {} });
  } catch (thrown) {
    if (!signal.aborted) options.log.warn({ error: errorMessage(thrown) }, "attached clients are not waited for");
  }
}

async function powerOff(run: RunningZone, log: Logger): Promise<void> {
  const timeoutMs = POWER_OFF_MS;
  try {
    const client = await run.link.client(run.detached, timeoutMs);
    await createClient(SystemService, client).shutdown(
      { graceMs: SHUTDOWN_GRACE_MS },
      { timeoutMs, signal: run.detached },
    );
  } catch (thrown) {
    log.debug({ error: errorMessage(thrown) }, "the zone did not answer to Shutdown");
  }
  await Promise.race([run.domain.ended, delay(POWER_OFF_MS)]);
  await run.domain.destroy();
}

/** The end of a zone whose main process was first. */
export function ofMain(outcome: MainOutcome, stopAsked: boolean, memoryLimit: string): ZoneEnd {
  switch (outcome.kind) {
    case "exited": {
      const message = stopAsked ? "stopped" : exitMessage(outcome.exit, memoryLimit);
      return { cause: stopAsked ? "stopped" : "exited", message, exitCode: exitCodeOf(outcome.exit) };
    }
    case "failed":
      return { cause: "start-failed", message: outcome.message, exitCode: outcome.exitCode };
    case "forgotten":
      return { cause: "lost", message: outcome.message, exitCode: NO_EXIT_CODE };
    case "abandoned":
      return { cause: "stopped", message: outcome.message, exitCode: NO_EXIT_CODE };
  }
}

function exitMessage({ signal, code, oomKilled }: MainExit, memoryLimit: string): string {
  if (!oomKilled || (signal === 0 && code === 0)) return "";
  const killed = signal === SIGKILL ? "killed" : "a process of it was killed";
  return `${killed}: out of memory (limit ${memoryLimit})`;
}

/** The end of a zone whose domain went away before its main process was known to have ended. */
export function ofDomain(end: DomainEnd, stopAsked: boolean): ZoneEnd {
  const exitCode = NO_EXIT_CODE;
  if (end.cause === "panicked") return { cause: "panic", message: end.message, exitCode };
  if (stopAsked) return { cause: "stopped", message: "killed", exitCode };
  return { cause: "lost", message: endMessage(end), exitCode };
}

/** What a record tells of a zone's main process: its exit, or until when it is held. */
export function knownOf(life: Life): Pick<KeepOptions, "exit" | "heldUntil"> {
  return {
    ...(life.state === "stopping" && life.exit && { exit: life.exit }),
    ...("heldUntil" in life && life.heldUntil !== undefined && { heldUntil: life.heldUntil }),
  };
}

/** The memory that a zone's processes may use, for people. */
export function memoryLimitOf(spec: ZoneSpec): string {
  return `${inMib(exactInteger(spec.memoryLimitBytes) || exactInteger(spec.memoryBytes))} MiB`;
}

/** Settles with undefined when `signal` aborts. */
export function aborted(signal: AbortSignal): Promise<undefined> {
  return new Promise((resolve) => {
    signal.addEventListener("abort", () => resolve(undefined), { once: true });
    if (signal.aborted) resolve(undefined);
  });
}

function never<T>(): Promise<T> {
  return new Promise(() => {});
}
