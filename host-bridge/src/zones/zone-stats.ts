import { ContainerService, createClient, NetworkService, SystemService, toTimestamp, type zone } from "@zone/proto";
import { errorMessage } from "../errors.js";
import { exactInteger } from "../numbers.js";
import { MAIN } from "./main-spec.js";
import { vcpusFor } from "./spec.js";
import type { Zone } from "./zone.js";

export type StatsMessage = zone.bridge.v1.ZoneStats.$Properties;

/** For a zone to answer: one that hangs must not hold the others up. */
const ZONE_MS = 2000;
/** For the host to count what its processes use. */
const HOST_MS = 1000;
/** Of what a zone lists. */
const MAX_LISTED = 256;

/** What a zone uses now. Never rejects: `message` says what is missing, and why. */
export async function zoneStats(zone: Zone, contained: boolean): Promise<StatsMessage> {
  const { record } = zone;
  const paused = record.life.state === "paused";
  const base = {
    zoneId: zone.id,
    name: zone.name,
    vcpus: record.vcpus ?? vcpusFor(record.spec.cpuMillis ?? 0),
    paused,
  };
  const [host, inside] = await Promise.allSettled([hostPart(zone), paused ? {} : zonePart(zone, contained)]);
  const failed = [host, inside].find((part) => part.status === "rejected");
  return {
    ...base,
    ...(host.status === "fulfilled" && host.value),
    ...(inside.status === "fulfilled" && inside.value),
    ...(paused && { message: "the zone is paused" }),
    ...(failed?.status === "rejected" && { message: errorMessage(failed.reason) }),
    time: toTimestamp(Date.now()),
  };
}

async function hostPart(zone: Zone): Promise<StatsMessage> {
  const domain = zone.running?.domain;
  if (!domain) throw zone.access.notRunning();
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error("the zone's VMM could not be measured in time")), HOST_MS);
  });
  try {
    const { cpuUs, pssBytes, privateBytes } = await Promise.race([domain.stats(), late]);
    return { vmmCpuUs: cpuUs, vmmPssBytes: pssBytes, vmmPrivateBytes: privateBytes };
  } finally {
    clearTimeout(timer);
  }
}

async function zonePart(zone: Zone, contained: boolean): Promise<StatsMessage> {
  const call = { timeoutMs: ZONE_MS };
  const client = await zone.access.client(AbortSignal.timeout(ZONE_MS), ZONE_MS);
  const [info, container, network] = await Promise.all([
    createClient(SystemService, client).info({ brief: true }, call),
    contained ? createClient(ContainerService, client).stats({ id: MAIN }, call) : undefined,
    createClient(NetworkService, client).listLinks({}, call),
  ]);
  return {
    zoneMemoryTotalBytes: counted(info.memoryTotalBytes),
    zoneMemoryAvailableBytes: counted(info.memoryAvailableBytes),
    ...containerPart(container?.cgroup),
    ...networkPart(network.links),
  };
}

function containerPart(cgroup: zone.agent.v1.CgroupStats.$Properties | null | undefined): StatsMessage {
  const { cpu, memory, pids, io } = cgroup ?? {};
  const disks = (io ?? []).slice(0, MAX_LISTED);
  return {
    cpuUs: counted(cpu?.usageUs),
    // As docker stats: what the kernel would drop at once is not in use.
    memoryBytes: Math.max(0, counted(memory?.currentBytes) - counted(memory?.inactiveFileBytes)),
    memoryLimitBytes: counted(memory?.limitBytes),
    pids: counted(pids?.current),
    oomKills: counted(memory?.oomKills),
    diskReadBytes: sum(disks.map(({ readBytes }) => readBytes)),
    diskWrittenBytes: sum(disks.map(({ writeBytes }) => writeBytes)),
  };
}

function networkPart(all: readonly zone.agent.v1.Link.$Properties[]): StatsMessage {
  const links = all.slice(0, MAX_LISTED).filter(({ loopback }) => !loopback);
  return {
    networkReceivedBytes: sum(links.map(({ receivedBytes }) => receivedBytes)),
    networkSentBytes: sum(links.map(({ sentBytes }) => sentBytes)),
  };
}

function sum(fields: (number | null | undefined)[]): number {
  return counted(fields.map(counted).reduce((total, each) => total + each, 0));
}

/** A zone is hostile: what is no exact count is 0. */
function counted(field: number | null | undefined): number {
  const value = exactInteger(field);
  return Number.isNaN(value) ? 0 : Math.max(0, value);
}
