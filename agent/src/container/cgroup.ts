import { existsSync, mkdirSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { errnoOf } from "../errors.js";
import type { CgroupLimits } from "./request.js";

/** cpu.max counts in microseconds of each period; the kernel takes no quota below a millisecond. */
const CPU_PERIOD_US = 100_000;
const CPU_QUOTA_MIN_US = 1000;

/** The files of a cgroup and what goes in them, for these limits; Documentation/admin-guide/cgroup-v2.rst. */
export function limitFiles({ cpuMillis, memoryBytes, pids }: CgroupLimits): [file: string, value: string][] {
  const files: [string, string][] = [];
  if (cpuMillis !== undefined) {
    const quota = Math.max((cpuMillis * CPU_PERIOD_US) / 1000, CPU_QUOTA_MIN_US);
    files.push(["cpu.max", `${quota} ${CPU_PERIOD_US}`]);
  }
  if (memoryBytes !== undefined) files.push(["memory.max", String(memoryBytes)]);
  if (pids !== undefined) files.push(["pids.max", String(pids)]);
  return files;
}

/** Lets the children of the cgroup `parent` have limits; those that this kernel has not are left out. Once per start. */
export function enableControllers(parent: string): void {
  for (const controller of ["cpu", "memory", "pids", "io"]) {
    try {
      writeFileSync(join(parent, "cgroup.subtree_control"), `+${controller}`);
    } catch (error) {
      if (!["ENOENT", "EINVAL"].includes(errnoOf(error) ?? "")) throw error;
    }
  }
}

/** Makes the cgroup `path` with these limits. Leaves nothing when it fails. */
export function createCgroup(path: string, limits: CgroupLimits): void {
  mkdirSync(path);
  try {
    for (const [file, value] of limitFiles(limits)) writeFileSync(join(path, file), value);
  } catch (error) {
    rmdirSync(path);
    throw error;
  }
}

const REMOVE_DEADLINE_MS = 5000;
const REMOVE_POLL_MS = 5;

/** Ends what is left in a cgroup and removes it. Throws EBUSY when something does not end within 5 seconds. */
export async function removeCgroup(path: string): Promise<void> {
  const deadline = performance.now() + REMOVE_DEADLINE_MS;
  if (existsSync(join(path, "cgroup.kill"))) writeFileSync(join(path, "cgroup.kill"), "1");
  for (;;) {
    try {
      rmdirSync(path);
      return;
    } catch (error) {
      const code = errnoOf(error);
      if (code === "ENOENT") return;
      // A killed process leaves its cgroup a moment after it was reaped.
      if (code !== "EBUSY" || performance.now() >= deadline) throw error;
    }
    await setTimeout(REMOVE_POLL_MS);
  }
}
