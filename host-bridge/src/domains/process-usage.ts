import { readFile } from "node:fs/promises";
import type { DomainStats } from "./driver.js";

/** Of the times in /proc/PID/stat: USER_HZ is 100 on every architecture that zones run on. */
const TICK_US = 10_000;

/** What processes use together, with their direct children; those that are gone use nothing. proc(5). */
export async function usageOf(pids: readonly number[]): Promise<DomainStats> {
  const children = await Promise.all(pids.map(childrenOf));
  const usages = await Promise.all([...new Set([...pids, ...children.flat()])].map(usageOfOne));
  const sum = (key: keyof DomainStats) => usages.reduce((total, usage) => total + usage[key], 0);
  return { cpuUs: sum("cpuUs"), pssBytes: sum("pssBytes"), privateBytes: sum("privateBytes") };
}

async function usageOfOne(pid: number): Promise<DomainStats> {
  const [stat, rollup] = await Promise.all([textOf(`/proc/${pid}/stat`), textOf(`/proc/${pid}/smaps_rollup`)]);
  // The name, in parentheses, may hold spaces and parentheses itself; utime and stime are fields 14 and 15.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const ticks = Number(fields[11] ?? 0) + Number(fields[12] ?? 0);
  return { cpuUs: ticks * TICK_US, pssBytes: sizes(rollup, "Pss"), privateBytes: sizes(rollup, "Private_[A-Za-z]+") };
}

/** The sum of the fields of that name, in bytes. */
function sizes(rollup: string, name: string): number {
  const lines = rollup.matchAll(new RegExp(`^${name}:\\s+(\\d+) kB$`, "gm"));
  return [...lines].reduce((total, [, kib]) => total + Number(kib) * 1024, 0);
}

async function childrenOf(pid: number): Promise<number[]> {
  const text = await textOf(`/proc/${pid}/task/${pid}/children`);
  return text
    .split(" ")
    .map(Number)
    .filter((child) => child > 0);
}

/** Empty when the process is gone. */
async function textOf(path: string): Promise<string> {
  try {
    return await readFile(path, "latin1");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ESRCH") return "";
    throw error;
  }
}
