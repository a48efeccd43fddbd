import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { setImmediate } from "node:timers/promises";
import { toTimestamp, type zone } from "@zone/proto";
import { LIMITS } from "../limits.js";

/** USER_HZ, the unit of times in /proc: 100 on every architecture that Node runs on. */
export const TICKS_PER_SECOND = 100;
const PAGE_KIB = 4;
/** Tasks looked at before others get their turn. */
const BATCH = 64;

/** The fields of /proc/PID/stat that a task needs; proc(5). */
export interface TaskStat {
  comm: string;
  state: string;
  ppid: number;
  /** In ticks. */
  cpu: number;
  /** Ticks since boot. */
  start: number;
  rssPages: number;
}

/** Parses /proc/PID/stat; undefined when it is none. The name in it may hold anything, also spaces and brackets. */
export function parseStat(text: string): TaskStat | undefined {
  const open = text.indexOf("(");
  const close = text.lastIndexOf(")");
  if (open < 0 || close < open) return undefined;
  const fields = text.slice(close + 2).split(" ");
  const number = (index: number) => Number(fields[index]); // index 0 is field 3 of proc(5)
  const stat = {
    comm: text.slice(open + 1, close),
    state: fields[0] ?? "",
    ppid: number(1),
    cpu: number(11) + number(12),
    start: number(19),
    rssPages: number(21),
  };
  return Number.isFinite(stat.ppid + stat.cpu + stat.start + stat.rssPages) ? stat : undefined;
}

/**
 * What runs in the zone, or in the pid namespace of a container's init, in order of pid; at most LIMITS.tasks. A task that
 * ends while it is looked at is left out.
 */
export async function listTasks(
  scope: "zone" | "none" | { initPid: number },
): Promise<zone.agent.v1.RunningTask.$Properties[]> {
  if (scope === "none") return [];
  const namespace = scope === "zone" ? undefined : pidNamespace(scope.initPid);
  const bootTime = readBootTime();
  const tasks: zone.agent.v1.RunningTask.$Properties[] = [];
  const pids = readdirSync("/proc").map(Number).filter(Number.isInteger);
  for (const [index, pid] of pids.sort((a, b) => a - b).entries()) {
    if (tasks.length >= LIMITS.tasks) break;
    if (index % BATCH === BATCH - 1) await setImmediate();
    if (scope !== "zone" && (namespace === undefined || pidNamespace(pid) !== namespace)) continue;
    const task = readTask(pid, bootTime);
    if (task) tasks.push(task);
  }
  return tasks;
}

function readTask(pid: number, bootTime: number): zone.agent.v1.RunningTask.$Properties | undefined {
  try {
    const stat = parseStat(readFileSync(`/proc/${pid}/stat`, "latin1"));
    if (!stat) return undefined;
    const status = readFileSync(`/proc/${pid}/status`, "latin1");
    const command = readFileSync(`/proc/${pid}/cmdline`).subarray(0, LIMITS.taskCommandBytes);
    return {
      pid,
      ppid: stat.ppid,
      uid: Number(/^Uid:\t(\d+)/m.exec(status)?.[1] ?? 0),
      state: stat.state,
      cpuMs: (stat.cpu * 1000) / TICKS_PER_SECOND,
      rssKib: stat.rssPages * PAGE_KIB,
      startedAt: toTimestamp(bootTime + (stat.start * 1000) / TICKS_PER_SECOND),
      command: command.length > 0 ? spaced(command) : Buffer.from(`[${stat.comm}]`, "latin1"),
      // The innermost namespace comes last.
      containerPid: Number(/^NSpid:.*?(\d+)$/m.exec(status)?.[1] ?? pid),
    };
  } catch {
    return undefined; // it has ended
  }
}

/** A command line with spaces for the NULs between its arguments, and none at its end. */
function spaced(cmdline: Buffer): Buffer {
  let end = cmdline.length;
  while (end > 0 && cmdline[end - 1] === 0) end--;
  return cmdline.subarray(0, end).map((byte) => (byte === 0 ? 0x20 : byte)) as Buffer;
}

function pidNamespace(pid: number): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/ns/pid`);
  } catch {
    return undefined; // it has ended
  }
}

/** When the kernel started, in milliseconds since 1970: the "btime" line of /proc/stat. */
function readBootTime(): number {
  return Number(/^btime (\d+)$/m.exec(readFileSync("/proc/stat", "latin1"))?.[1] ?? 0) * 1000;
}
