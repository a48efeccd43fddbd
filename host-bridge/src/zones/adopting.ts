import type { Logger } from "pino";
import type { Domain } from "../domains/driver.js";
import { errorMessage } from "../errors.js";
import type { ZoneRecord } from "../state/zone-record.js";
import { memoryLimitOf, ofMain } from "./ending.js";
import type { Holdings } from "./holdings.js";
import { NO_EXIT_CODE, type ZoneEnd } from "./life.js";
import { type RunListener, RunningZone } from "./running-zone.js";
import type { ZoneContext } from "./zone-context.js";

type Ended = { kind: "ended"; end: ZoneEnd };

/** A zone that was started by an earlier bridge and is not known to have ended. */
export interface AdoptableZone {
  record: ZoneRecord;
  context: ZoneContext;
  holdings: Holdings;
  listener: RunListener;
  directory: string;
  log: Logger;
}

/** What became of a zone while no bridge ran. One that cannot be taken up is ended, as nobody could reach it. */
export async function adoptZone(zone: AdoptableZone): Promise<Ended | { kind: "lives"; run: RunningZone }> {
  const { record, context, holdings, listener, directory, log } = zone;
  let domain: Domain | undefined;
  try {
    const adopted = await adoptDomain(record, context);
    if (adopted.kind === "ended") return adopted;
    domain = adopted.domain;
    await holdings.retake(record);
    const { paused } = adopted;
    const { clocks } = context;
    const run = await RunningZone.open({ directory, id: record.id, domain, paused, listener, clocks, log });
    return { kind: "lives", run };
  } catch (thrown) {
    log.error({ err: thrown }, "a zone of an earlier bridge cannot be taken up");
    await domain?.destroy().catch((error) => log.error({ err: error }, "nor can its domain be ended"));
    return ended("lost", `it could not be taken up again: ${errorMessage(thrown)}`);
  }
}

/** Finds the domain of a zone that was started by an earlier bridge and not known to have ended, and brings it to what is recorded. */
async function adoptDomain(
  { life, spec }: ZoneRecord,
  { driver, log }: Pick<ZoneContext, "driver" | "log">,
): Promise<Ended | { kind: "lives"; domain: Domain; paused: boolean }> {
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

function ended(cause: ZoneEnd["cause"], message: string): Ended {
  return { kind: "ended", end: { cause, message, exitCode: NO_EXIT_CODE } };
}
