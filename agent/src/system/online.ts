import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { agentError, describe, errnoOf } from "../errors.js";

/** Where the kernel has its cpus and memory blocks: /sys/devices/system and /proc/meminfo. */
export interface OnlinePaths {
  system: string;
  meminfo: string;
}

/** What a zone has in use. */
export interface InUse {
  cpus: number;
  /** MemTotal of proc(5): what is left when the kernel has taken its own. */
  memoryTotalBytes: number;
}

const POLL_MIN_MS = 2;
const POLL_MAX_MS = 50;

/**
 * Brings what was plugged in into use, until there is as much as is wanted (0: what is there). What is plugged in appears a
 * moment after the host's word of it, so it is looked for again and again; RESOURCES_NOT_THERE after `waitMs`.
 * Documentation/core-api/cpu_hotplug.rst, Documentation/admin-guide/mm/memory-hotplug.rst.
 */
export async function bringOnline(
  wanted: InUse,
  waitMs: number,
  paths: OnlinePaths,
  signal: AbortSignal,
): Promise<InUse> {
  const deadline = performance.now() + waitMs;
  for (let pause = POLL_MIN_MS; ; pause = Math.min(pause * 2, POLL_MAX_MS)) {
    onlineCpus(paths.system);
    onlineMemory(paths.system);
    const now = inUse(paths);
    if (now.cpus >= wanted.cpus && now.memoryTotalBytes >= wanted.memoryTotalBytes) return now;
    if (performance.now() >= deadline) throw notThere(wanted, now, waitMs);
    await setTimeout(pause, undefined, { signal });
  }
}

export function inUse({ system, meminfo }: OnlinePaths): InUse {
  const total = /^MemTotal:\s+(\d+) kB/m.exec(readFileSync(meminfo, "latin1"))?.[1];
  return {
    cpus: countOfList(readFileSync(join(system, "cpu/online"), "latin1").trim()),
    memoryTotalBytes: Number(total) * 1024,
  };
}

/** How many numbers a list of cpuset(7) has: 4 for "0-2,7". */
export function countOfList(list: string): number {
  return list.split(",").reduce((count, range) => {
    const [from, to = from] = range.split("-");
    return from ? count + Number(to) - Number(from) + 1 : count;
  }, 0);
}

function onlineCpus(system: string): void {
  for (const name of readdirSync(join(system, "cpu"))) {
    if (/^cpu\d+$/.test(name)) setWhere(join(system, "cpu", name, "online"), "0", "1");
  }
}

/** As movable memory, so that it can be taken away again. */
function onlineMemory(system: string): void {
  let names: string[];
  try {
    names = readdirSync(join(system, "memory"));
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return; // a kernel without memory hot-plug
    throw error;
  }
  for (const name of names) {
    if (/^memory\d+$/.test(name)) setWhere(join(system, "memory", name, "state"), "offline", "online_movable");
  }
}

/** Writes `to` to a file that says `from`. A cpu that cannot be taken out of use has no such file. */
function setWhere(path: string, from: string, to: string): void {
  try {
    if (readFileSync(path, "latin1").trim() === from) writeFileSync(path, to);
  } catch (error) {
    // EINVAL, EBUSY: being plugged in or out right now. It is tried again.
    if (!["ENOENT", "EINVAL", "EBUSY", "EAGAIN"].includes(errnoOf(error) ?? "")) {
      throw agentError("INTERNAL", "ONLINE_FAILED", `${path} cannot be set to "${to}": ${describe(error)}`);
    }
  }
}

function notThere(wanted: InUse, now: InUse, waitMs: number): Error {
  const missing = [
    now.cpus < wanted.cpus && `${wanted.cpus} cpus (${now.cpus} are there)`,
    now.memoryTotalBytes < wanted.memoryTotalBytes &&
      `${mebibytes(wanted.memoryTotalBytes)} MiB of memory (${mebibytes(now.memoryTotalBytes)} are there)`,
  ].filter(Boolean);
  const message = `the zone did not get ${missing.join(" and ")} within ${waitMs} ms`;
  return agentError("DEADLINE_EXCEEDED", "RESOURCES_NOT_THERE", message);
}

function mebibytes(bytes: number): number {
  return Math.floor(bytes / 2 ** 20);
}
