import { createClient, SystemService, type zone } from "@zone/proto";
import { bridgeError } from "../errors.js";
import { exactInteger } from "../numbers.js";
import type { AgentSession } from "../zones/zone-link.js";
import type { LogFile } from "./log-file.js";

/** Most characters of a record that are kept; the agent sends at most 8 KiB. */
const MAX_CHARACTERS = 16 * 1024;

/**
 * Takes the agent's own log into a log file. The agent counts its records from 1: a position is the cursor of the last record
 * before it. Ends only by rejecting: call again.
 */
export class AgentLogFollower {
  readonly #log: LogFile;
  #base = 0;
  #restarts: number | undefined;

  constructor(log: LogFile) {
    this.#log = log;
  }

  async follow(session: AgentSession, signal: AbortSignal): Promise<never> {
    // A restarted agent counts from its first record again.
    if (this.#restarts !== undefined && this.#restarts !== session.restarts) this.#base = this.#log.position("agent");
    this.#restarts = session.restarts;
    const cursor = this.#log.position("agent") - this.#base + 1;
    const call = createClient(SystemService, session.client).logs({ cursor, follow: true }, { signal });
    call.on("error", () => {}); // the loop reports it; one that comes after the loop (we cancelled) is no news
    try {
      for await (const record of call as AsyncIterable<zone.agent.v1.LogRecord>) {
        const to = this.#base + exactInteger(record.cursor);
        if (!(to > this.#log.position("agent"))) continue; // known already, or no number
        const data = Buffer.from(`${record.json.slice(0, MAX_CHARACTERS)}\n`);
        await this.#log.append({ time: Date.now(), stream: "agent", from: to - 1, to, data });
      }
    } finally {
      call.cancel();
    }
    throw bridgeError("UNAVAILABLE", "ZONE_UNREACHABLE", "the agent ended its log");
  }
}
