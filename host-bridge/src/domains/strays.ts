import { readdir, readlink, realpath, rm } from "node:fs/promises";
import { join } from "node:path";
import { adoptVmm } from "./qemu-process.js";

/**
 * Ends the VMMs of the domains in `domainsDirectory` that are not `known`, and removes their folders: left by a bridge that was
 * killed before it had recorded them, so their guests have never run (or were templates being made).
 */
export async function removeStrays(domainsDirectory: string, known: ReadonlySet<string>): Promise<void> {
  const strays = (await entries(domainsDirectory))
    .map((name) => join(domainsDirectory, name))
    .filter((path) => !known.has(path));
  if (strays.length === 0) return;
  const directories = new Set(await Promise.all(strays.map((path) => realpath(path))));
  for (const name of await entries("/proc")) {
    const pid = Number(name);
    if (!Number.isInteger(pid) || !directories.has(await workingDirectory(pid))) continue;
    const vmm = await adoptVmm(pid);
    await vmm?.kill();
    await vmm?.exited();
  }
  for (const stray of strays) await rm(stray, { recursive: true, force: true });
}

async function entries(path: string): Promise<string[]> {
  try {
    return await readdir(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
}

/** /proc/PID/cwd (proc(5)): a VMM's is its folder. Empty when the process is gone. */
async function workingDirectory(pid: number): Promise<string> {
  try {
    return await readlink(`/proc/${pid}/cwd`);
  } catch {
    return "";
  }
}
