import { readdirSync, readFileSync } from "node:fs";
import { arch, cpus, freemem, hostname, release, totalmem, version } from "node:os";
import { parseStat, TICKS_PER_SECOND } from "../process/tasks.js";

/** Figures of the zone that are read when they are asked for. */
export interface ZoneFigures extends Partial<CountedFigures> {
  kernelRelease: string;
  kernelVersion: string;
  architecture: string;
  hostname: string;
  bootId: string;
  cpus: number;
  memoryTotalBytes: number;
  memoryAvailableBytes: number;
  uptimeMs: number;
}

/** Those for which something has to be counted: pages, descriptors, every process of the zone. */
interface CountedFigures {
  agentRssBytes: number;
  agentPssBytes: number;
  agentFds: number;
  zombies: number;
}

/** Reads them from uname(2) and /proc; with `brief`, without those that are counted. */
export function zoneFigures(brief: boolean): ZoneFigures {
  return {
    kernelRelease: release(),
    kernelVersion: version(),
    architecture: arch(),
    hostname: hostname(),
    bootId: bootId(),
    cpus: cpus().length,
    memoryTotalBytes: totalmem(),
    memoryAvailableBytes: kib(read("/proc/meminfo"), "MemAvailable") ?? freemem(),
    uptimeMs: uptimeMs(),
    ...(brief ? {} : countedFigures()),
  };
}

function countedFigures(): CountedFigures {
  const memory = read("/proc/self/smaps_rollup");
  return {
    agentRssBytes: kib(memory, "Rss") ?? process.memoryUsage.rss(),
    agentPssBytes: kib(memory, "Pss") ?? 0,
    agentFds: readdirSync("/proc/self/fd").length - 1, // without the one that lists them
    zombies: countZombies(),
  };
}

/** Of the kernel; random(4). */
export function bootId(): string {
  return read("/proc/sys/kernel/random/boot_id").trim();
}

/** Milliseconds since the kernel started. */
export function uptimeMs(): number {
  return Math.round(Number(read("/proc/uptime").split(" ")[0] ?? 0) * 1000);
}

/** Milliseconds from the kernel's start to PID 1's, to a tick. */
export function initStartedMs(): number {
  return ((parseStat(read("/proc/1/stat"))?.start ?? 0) * 1000) / TICKS_PER_SECOND;
}

function countZombies(): number {
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  return pids.filter((pid) => parseStat(read(`/proc/${pid}/stat`))?.state === "Z").length;
}

/** A field of a /proc file in bytes: "Name:   123 kB". */
function kib(text: string, field: string): number | undefined {
  const value = new RegExp(`^${field}:\\s+(\\d+) kB$`, "m").exec(text)?.[1];
  return value === undefined ? undefined : Number(value) * 1024;
}

/** A file of /proc; "" when it is not there: a process that has ended, or a kernel without it. */
function read(path: string): string {
  try {
    return readFileSync(path, "latin1");
  } catch {
    return "";
  }
}
