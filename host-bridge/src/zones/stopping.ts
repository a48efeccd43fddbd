import { createClient, SystemService } from "@zone/proto";
import type { Logger } from "pino";
import { errorMessage } from "../errors.js";
import { signalMain } from "./main-process.js";
import type { RunningZone } from "./running-zone.js";
import { delay } from "./zone-link.js";

const SIGKILL = 9;
/** For a signal to reach the main process. */
const SIGNAL_TIMEOUT_MS = 5000;
/** From SIGKILL to the zone's end, before its domain is destroyed: its output is taken and it powers off meanwhile. */
const KILL_GRACE_MS = 5000;

export interface StopOptions {
  signal: number;
  /** From the signal to SIGKILL; 0 is SIGKILL at once. */
  timeoutMs: number;
  /** Settles when the zone has ended. */
  ended: Promise<void>;
  log: Logger;
}

/** Ends the main process and with it the zone, by ever stronger means; answers when it has ended or its domain is destroyed. */
export async function stopMain(run: RunningZone, { signal, timeoutMs, ended, log }: StopOptions): Promise<void> {
  const { detached } = run;
  const endedWithin = (ms: number) => Promise.race([ended, delay(ms, detached)]);
  const send = async (number: number) => {
    try {
      return await signalMain(run.link, number, SIGNAL_TIMEOUT_MS);
    } catch (thrown) {
      log.warn({ error: errorMessage(thrown), signal: number }, "the main process cannot be signalled");
      return false;
    }
  };
  if (timeoutMs > 0 && (await send(signal))) await endedWithin(timeoutMs);
  if (!detached.aborted) await send(SIGKILL);
  if (!detached.aborted) await endedWithin(KILL_GRACE_MS);
  if (!detached.aborted) await run.domain.destroy();
}

/** For a zone that is about to be killed to write what its volumes are still to get. */
const SYNC_MS = 5000;

/**
 * Writes what a zone keeps in memory of its volumes, as far as it can in the time it gets: who kills a zone with its machine kills
 * processes, and must not take back what they have written.
 */
export async function syncVolumes(run: RunningZone, log: Logger): Promise<void> {
  try {
    const client = await run.link.client(AbortSignal.timeout(SYNC_MS), SYNC_MS);
    await createClient(SystemService, client).sync({}, { timeoutMs: SYNC_MS });
  } catch (thrown) {
    log.warn({ error: errorMessage(thrown) }, "the zone's volumes could not be synced before its end");
  }
}
