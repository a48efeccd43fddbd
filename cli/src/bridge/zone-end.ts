import { ZoneError } from "@zone/proto";
import type { api } from "../messages.js";
import type { Bridge } from "./connect.js";

const RETRY_MS = 200;

/**
 * A function that waits for a zone's end, asking the bridge once however often it is called, and again when the bridge goes
 * away meanwhile. It settles with undefined when the zone is removed already, and never when `signal` aborts first.
 */
export function zoneEndWatch(client: Bridge, zone: string, signal: AbortSignal): () => Promise<api.Zone | undefined> {
  let asked: Promise<api.Zone | undefined> | undefined;
  return () => {
    asked ??= waitForEnd(client, zone, signal);
    return asked;
  };
}

async function waitForEnd(client: Bridge, name: string, signal: AbortSignal): Promise<api.Zone | undefined> {
  while (!signal.aborted) {
    try {
      const { zone } = await client.zones.wait({ zone: name }, { signal });
      return (zone as api.Zone | null | undefined) ?? undefined;
    } catch (thrown) {
      if (ZoneError.from(thrown).reason === "ZONE_UNKNOWN") return undefined;
      // Anything else is the same lost link that made the caller ask; the caller bounds how long it waits.
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }
  return new Promise(() => {});
}
