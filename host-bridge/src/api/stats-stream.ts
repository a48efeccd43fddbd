import { setTimeout as sleep } from "node:timers/promises";
import { toTimestamp, type zone } from "@zone/proto";
import { checkCount, invalid } from "../zones/spec-error.js";
import type { Zone } from "../zones/zone.js";
import { type StatsMessage, zoneStats } from "../zones/zone-stats.js";
import type { Send } from "./calls.js";

const DEFAULT_INTERVAL_MS = 1000;
const INTERVAL_MS = { least: 100, most: 600_000 };
const MAX_NAMED = 1000;

/** Where the zones of a stream of statistics come from. */
export interface StatsSource {
  /** The zone of this name; ZONE_UNKNOWN, NOT_YOUR_ZONE. */
  find(wanted: string): Zone;
  /** All that the caller may see and that have not ended. */
  all(): Zone[];
  /** Main processes run in containers. */
  contained: boolean;
}

/** Zones.Stats: each turn has a message for each zone, as they come, so that a zone that hangs holds up nobody but itself. */
export async function sendStats(
  request: zone.bridge.v1.ZoneStatsRequest.$Properties,
  source: StatsSource,
  send: Send<StatsMessage>,
  signal: AbortSignal,
): Promise<void> {
  const { zones: wanted, follow } = request;
  const interval = request.intervalMs || DEFAULT_INTERVAL_MS;
  if (interval < INTERVAL_MS.least || interval > INTERVAL_MS.most) {
    const rule = `give ${INTERVAL_MS.least} to ${INTERVAL_MS.most}`;
    throw invalid("INVALID_LIMIT", `an interval of ${interval} ms cannot be: ${rule}`);
  }
  checkCount("INVALID_LIMIT", "zones", wanted, MAX_NAMED);
  const named = wanted?.length ? [...new Set(wanted.map((each) => source.find(each)))] : undefined;
  const still = named?.find((zone) => !isUp(zone));
  if (still) throw still.access.notRunning();
  for (;;) {
    const began = performance.now();
    const up = (named ?? source.all()).filter(isUp);
    if (named && up.length === 0) return; // all of them have ended
    await sendTurn(up, source.contained, send);
    if (!follow) return;
    await sleep(Math.max(0, interval - (performance.now() - began)), undefined, { signal }).catch(() => {});
    signal.throwIfAborted();
  }
}

async function sendTurn(zones: readonly Zone[], contained: boolean, send: Send<StatsMessage>): Promise<void> {
  // A turn of nobody is told too: who shows a table empties it.
  if (zones.length === 0) return send({ time: toTimestamp(Date.now()), last: true });
  let left = zones.length;
  const sent = zones.map(async (zone) => {
    const message = await zoneStats(zone, contained);
    left -= 1;
    await send({ ...message, last: left === 0 });
  });
  await Promise.all(sent);
}

function isUp(zone: Zone): boolean {
  const { state } = zone.record.life;
  return state === "running" || state === "paused" || state === "stopping";
}
