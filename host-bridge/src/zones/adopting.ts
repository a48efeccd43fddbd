import type { Domain } from "../domains/driver.js";
import type { ZoneRecord } from "../state/zone-record.js";
import { memoryLimitOf, ofMain } from "./ending.js";
import { NO_EXIT_CODE, type ZoneEnd } from "./life.js";
import type { ZoneContext } from "./zone-context.js";

/** What became of a zone while no bridge ran. */
export type Adopted = { kind: "ended"; end: ZoneEnd } | { kind: "lives"; domain: Domain; paused: boolean };

/** Finds the domain of a zone that was started by an earlier bridge and not known to have ended, and brings it to what is recorded. */
export async function adoptDomain(
  { life, spec }: ZoneRecord,
  { driver, log }: Pick<ZoneContext, "driver" | "log">,
): Promise<Adopted> {
  const domain = "domain" in life && life.domain ? await driver.adopt(life.domain) : undefined;
  if (life.state === "starting") {
    await domain?.destroy();
    return ended("start-failed", "the bridge ended while the zone was being started");
  }
  if (!domain) {
    const exit = life.state === "stopping" ? life.exit : undefined;
    if (!exit) return ended("lost", "it ended while no bridge ran");
    const stopAsked = life.state === "stopping" && life.by === "client";
    return { kind: "ended", end: ofMain({ kind: "exited", exit }, stopAsked, memoryLimitOf(spec)) };
  }
  const paused = life.state === "paused";
  // The bridge may have ended between what it did and what it wrote: the record is what a client was told.
  await (paused ? domain.pause() : domain.resume()).catch((error) =>
    log.error({ err: error, paused }, "an adopted domain cannot be paused or resumed as its record says"),
  );
  return { kind: "lives", domain, paused };
}

function ended(cause: ZoneEnd["cause"], message: string): Adopted {
  return { kind: "ended", end: { cause, message, exitCode: NO_EXIT_CODE } };
}
