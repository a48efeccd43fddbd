import { openSession, probeAgent } from "@zone/link";
import { createClient, ProcessService, SystemService } from "@zone/proto";
import type { WarmUp } from "../domains/driver.js";
import { delay } from "./zone-link.js";

const PROBE_MS = 2000;
const CALL_MS = 60_000;
const PAUSE_MS = 50;

/**
 * Brings a booted template to where it is cloned: its agent has served a session, so that the code of one is compiled and its
 * pages are in memory, and waits for the next hello. What it has done all clones have done.
 */
export const warmUp: WarmUp = async (link, signal) => {
  await probeUntilReady(link, signal);
  // A few sessions: the second one runs code of V8 and of the kernel that the first one has only translated.
  for (let round = 0; round < 3; round++) {
    const session = await openSession(link, { zoneId: "", timeoutMs: CALL_MS, signal });
    try {
      const call = { timeoutMs: CALL_MS, signal };
      await createClient(SystemService, session.client).info({}, call);
      // Refused in a template, by a code path that real calls take too.
      await createClient(ProcessService, session.client)
        .list({}, call)
        .catch(() => {});
    } finally {
      await session.close();
    }
  }
  await probeUntilReady(link, signal);
};

/** Probes until the agent answers. The caller bounds it with `signal`. */
async function probeUntilReady(link: string, signal: AbortSignal): Promise<void> {
  for (;;) {
    try {
      await probeAgent(link, { zoneId: "", timeoutMs: PROBE_MS, signal });
      return;
    } catch (thrown) {
      if (signal.aborted) throw thrown;
      await delay(PAUSE_MS, signal);
    }
  }
}
