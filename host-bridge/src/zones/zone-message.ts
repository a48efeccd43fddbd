import { bridge, toDuration, toTimestamp, type zone } from "@zone/proto";
import type { ZoneRecord } from "../state/zone-record.js";
import type { EndCause, Life } from "./life.js";

export type ZoneMessage = zone.bridge.v1.Zone.$Properties;

const STATES: Record<Life["state"], zone.bridge.v1.ZoneState> = {
  created: bridge.ZoneState.ZONE_STATE_CREATED,
  starting: bridge.ZoneState.ZONE_STATE_STARTING,
  running: bridge.ZoneState.ZONE_STATE_RUNNING,
  paused: bridge.ZoneState.ZONE_STATE_PAUSED,
  stopping: bridge.ZoneState.ZONE_STATE_STOPPING,
  ended: bridge.ZoneState.ZONE_STATE_ENDED,
};
const CAUSES: Record<EndCause, zone.bridge.v1.EndCause> = {
  exited: bridge.EndCause.END_CAUSE_EXITED,
  stopped: bridge.EndCause.END_CAUSE_STOPPED,
  panic: bridge.EndCause.END_CAUSE_PANIC,
  lost: bridge.EndCause.END_CAUSE_LOST,
  "start-failed": bridge.EndCause.END_CAUSE_START_FAILED,
};

/** A zone as the API shows it. */
export function zoneMessage(record: ZoneRecord, linkUp: boolean): ZoneMessage {
  const { life, facts, ports, vcpus, oomKilled } = record;
  return {
    id: record.id,
    spec: record.spec,
    state: STATES[life.state],
    createdAt: toTimestamp(record.createdAt),
    imageDigest: record.imageDigest,
    argv: record.main.argv ?? [],
    linkUp,
    ...(ports && { ports: [...ports] }),
    ...(vcpus !== undefined && { vcpus }),
    ...(oomKilled && { oomKilled }),
    ...facts,
    ...ran(life),
    ...domain(life),
    ...end(life),
  };
}

function ran(life: Life): ZoneMessage {
  if (life.state === "created" || life.state === "starting") return {};
  const { startedAt, timings } = life;
  return {
    ...(startedAt !== undefined && { startedAt: toTimestamp(startedAt) }),
    ...(timings && {
      domainStartedAfter: toDuration(timings.domainStarted),
      agentReadyAfter: toDuration(timings.agentReady),
      mainStartedAfter: toDuration(timings.mainStarted),
    }),
  };
}

function domain(life: Life): ZoneMessage {
  if (!("domain" in life) || !life.domain) return {};
  const { driver, accelerator, pid, link } = life.domain;
  return { driver, accelerator, vmmPid: pid, link };
}

function end(life: Life): ZoneMessage {
  if (life.state !== "ended") return {};
  const { endedAt, cause, message, exitCode } = life;
  return { endedAt: toTimestamp(endedAt), endCause: CAUSES[cause], endMessage: message, exitCode };
}
