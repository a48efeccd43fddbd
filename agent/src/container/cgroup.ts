import { existsSync, mkdirSync, readdirSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { applySettings, type Setting } from "../cgroup/resources.js";
import { errnoOf } from "../errors.js";

/** Makes the cgroup `path` with these settings. Leaves nothing when it fails. */
export function createCgroup(path: string, settings: readonly Setting[]): void {
  mkdirSync(path);
  try {
    applySettings(path, settings);
  } catch (error) {
    rmdirSync(path);
    throw error;
  }
}

/** SIGKILL to all that is in it and below. */
export function killCgroup(path: string): void {
  writeIfThere(path, "cgroup.kill", "1");
}

/** Lets what is in it run. */
export function thawCgroup(path: string): void {
  writeIfThere(path, "cgroup.freeze", "0");
}

function writeIfThere(path: string, file: string, value: string): void {
  try {
    writeFileSync(join(path, file), value, { flag: "r+" });
  } catch (error) {
    // It is gone, with all that was in it; or the kernel is older than 5.14, and what is left holds the cgroup up.
    if (!["ENOENT", "ENODEV"].includes(errnoOf(error) ?? "")) throw error;
  }
}

const REMOVE_DEADLINE_MS = 5000;
const REMOVE_POLL_MS = 5;

/** Ends what is left in a cgroup and removes it, with those below. Throws EBUSY when something does not end within 5 seconds. */
export async function removeCgroup(path: string): Promise<void> {
  const deadline = performance.now() + REMOVE_DEADLINE_MS;
  killCgroup(path);
  for (;;) {
    try {
      removeBelow(path);
      return;
    } catch (error) {
      // A killed process leaves its cgroup a moment after it was reaped.
      if (errnoOf(error) !== "EBUSY" || performance.now() >= deadline) throw error;
    }
    await setTimeout(REMOVE_POLL_MS);
  }
}

function removeBelow(path: string): void {
  if (!existsSync(path)) return;
  try {
    rmdirSync(path);
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return;
    const below = errnoOf(error) === "EBUSY" ? readdirSync(path, { withFileTypes: true }) : [];
    const children = below.filter((entry) => entry.isDirectory());
    if (children.length === 0) throw error;
    for (const child of children) removeBelow(join(path, child.name));
    rmdirSync(path);
  }
}
