import type * as grpc from "@grpc/grpc-js";
import { createClient, SystemService, type zone } from "@zone/proto";
import { bridgeError } from "../errors.js";
import { MAIN } from "./main-spec.js";

/** A zone chooses how many events it tells: its next news of this kind is passed on after so long. */
const OOM_QUIET_MS = 1000;

/**
 * Follows what an agent tells of its zone, and calls `onOom` when the kernel has killed a process of the main container for want
 * of memory. Ends only by rejecting: call again.
 */
export async function followEvents(client: grpc.Client, signal: AbortSignal, onOom: () => void): Promise<never> {
  const call = createClient(SystemService, client).events({}, { signal });
  call.on("error", () => {}); // the loop reports it; one that comes after the loop (we cancelled) is no news
  let quietUntil = 0;
  try {
    for await (const { containerOom } of call as AsyncIterable<zone.agent.v1.Event>) {
      if (containerOom?.id !== MAIN || performance.now() < quietUntil) continue;
      quietUntil = performance.now() + OOM_QUIET_MS;
      onOom();
    }
  } finally {
    call.cancel();
  }
  throw bridgeError("UNAVAILABLE", "ZONE_UNREACHABLE", "the agent ended its events");
}
