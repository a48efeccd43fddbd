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
