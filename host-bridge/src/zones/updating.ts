import { ContainerService, createClient, SystemService } from "@zone/proto";
import type { Logger } from "pino";
import { exactInteger, sizeOf } from "../numbers.js";
import { containerLimits, MAIN } from "./main-spec.js";
import type { RunningZone } from "./running-zone.js";
import {
  checkCpus,
  checkMemory,
  checkMemoryLimit,
  checkPidsLimit,
  type HostSize,
  vcpusFor,
  type ZoneSpec,
} from "./spec.js";
import { inMib, invalid } from "./spec-error.js";
import { Undo } from "./undo.js";
import type { ZoneJournal } from "./zone-journal.js";

/** For the zone's kernel to bring into use what was plugged in, and for the call about it. */
const ONLINE_MS = 20_000;
const CALL_MS = 30_000;
/** Of memory that was plugged in, so much at least becomes the kernel's: the rest describes it (struct page). */
const USABLE = 0.9;

/** What is asked to be changed; absent is left. */
export interface Update {
  memoryBytes?: number;
  cpuMillis?: number;
  pidsLimit?: number;
  memoryLimitBytes?: number;
}

/** The spec with an update in it: INVALID_MEMORY, MEMORY_TOO_SMALL, INVALID_CPUS, INVALID_LIMIT. A running zone has its maxima. */
export function checkUpdate(
  spec: ZoneSpec,
  update: Update,
  zone: { kind: "created" | "running"; host: HostSize },
): ZoneSpec {
  const { host } = zone;
  const changed = { ...spec };
  if (update.memoryBytes !== undefined) {
    changed.memoryBytes = checkMemory(sizeOf(update.memoryBytes), host.memoryBytes);
  }
  if (update.cpuMillis !== undefined) changed.cpuMillis = checkCpus(update.cpuMillis, host.cpus);
  const memoryBytes = exactInteger(changed.memoryBytes);
  const vcpus = vcpusFor(changed.cpuMillis ?? 0);
  const [maxMemoryBytes, maxCpus] = [exactInteger(spec.maxMemoryBytes), spec.maxCpus ?? 0];
  if (zone.kind === "created") {
    changed.maxMemoryBytes = Math.max(maxMemoryBytes, memoryBytes);
    changed.maxCpus = Math.max(maxCpus, vcpus);
  } else {
    checkMaxima(spec, memoryBytes, vcpus);
  }
  if (update.pidsLimit !== undefined) {
    checkPidsLimit(update.pidsLimit);
    changed.pidsLimit = update.pidsLimit;
  }
  if (update.memoryLimitBytes !== undefined) changed.memoryLimitBytes = update.memoryLimitBytes;
  // Also when it was left: the zone may have become smaller.
  checkMemoryLimit(sizeOf(changed.memoryLimitBytes), memoryBytes);
  return changed;
}

function checkMaxima(spec: ZoneSpec, memoryBytes: number, vcpus: number): void {
  const most = exactInteger(spec.maxMemoryBytes) || exactInteger(spec.memoryBytes);
  if (memoryBytes > most) {
    const message = `${inMib(memoryBytes)} MiB is more than the running zone can grow to, ${inMib(most)} MiB: make it anew with more max_memory_bytes`;
    throw invalid("INVALID_MEMORY", message);
  }
  const mostCpus = spec.maxCpus || vcpusFor(spec.cpuMillis ?? 0);
  if (vcpus > mostCpus) {
    const message = `${vcpus} cpus are more than the running zone can grow to, ${mostCpus}: make it anew with more max_cpus`;
    throw invalid("INVALID_CPUS", message);
  }
}

/** A running zone that is to be changed. */
export interface UpdatedZone {
  run: RunningZone;
  journal: ZoneJournal;
  log: Logger;
  /** Its main process runs in a container, which has limits. */
  contained: boolean;
}

/**
 * Brings a running zone to `spec`: the domain gets memory and cpus, the agent brings them into use, the container's limits follow.
 * When a step fails those before it are undone, but for cpus: a domain keeps them, and the container may not use them.
 */
export async function applyUpdate({ run, journal, log, contained }: UpdatedZone, spec: ZoneSpec): Promise<void> {
  const { domain } = run;
  const { spec: old } = journal.record;
  const [oldVcpus, newVcpus] = [vcpusFor(old.cpuMillis ?? 0), vcpusFor(spec.cpuMillis ?? 0)];
  const client = await run.link.client(run.detached, CALL_MS);
  const [system, container] = [createClient(SystemService, client), createClient(ContainerService, client)];
  const undo = new Undo(log);
  const [oldBytes, newBytes] = [exactInteger(old.memoryBytes), exactInteger(spec.memoryBytes)];
  let hasBytes = oldBytes;
  // A domain has those of an update that failed, too.
  let vcpus = journal.record.vcpus ?? oldVcpus;
  const limit = (to: ZoneSpec) => container.update({ id: MAIN, limits: limitsOf(to, vcpus) }, { timeoutMs: CALL_MS });
  try {
    const before = newBytes > oldBytes ? await system.info({ brief: true }, { timeoutMs: CALL_MS }) : undefined;
    if (newBytes !== oldBytes) {
      undo.push(() => domain.setMemory(oldBytes));
      hasBytes = await domain.setMemory(newBytes);
    }
    if (newVcpus > vcpus) {
      vcpus = await domain.setVcpus(newVcpus);
      if (contained) undo.push(() => limit(old));
    }
    if (hasBytes > oldBytes || newVcpus > oldVcpus) {
      // A zone that says too much of itself only makes its own update fail.
      const total = before && hasBytes > oldBytes ? exactInteger(before.memoryTotalBytes) : 0;
      const memoryBytes = total > 0 ? Math.floor(total + USABLE * (hasBytes - oldBytes)) : 0;
      await system.online({ cpus: vcpus, memoryBytes, waitMs: ONLINE_MS }, { timeoutMs: CALL_MS });
    }
    if (contained) {
      undo.push(() => limit(old));
      await limit(spec);
    }
    await journal.revise({ spec: { ...spec, memoryBytes: hasBytes }, vcpus }, "updated");
  } catch (thrown) {
    await undo.all();
    await journal.noteRevision({ spec: old, vcpus });
    throw thrown;
  }
}

interface Limits {
  cpuMillis: number;
  memoryBytes: number;
  pids: number;
}

/** As an update says it: 0 takes a limit away. */
function limitsOf(spec: ZoneSpec, vcpus: number): Limits {
  const { cpuMillis, memoryBytes, pids } = containerLimits(spec, vcpus);
  return { cpuMillis: cpuMillis ?? 0, memoryBytes: memoryBytes ?? 0, pids: pids ?? 0 };
}
