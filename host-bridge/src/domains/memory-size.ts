import { bridgeError } from "../errors.js";
import { hotplugFailed } from "./plugged-disks.js";
import type { QmpClient } from "./qmp.js";
import { MINIMUM_MEMORY_BYTES } from "./template-build.js";

/** Linux brings memory online in blocks of this size on x86-64 (memory_block_size_bytes). */
export const MEMORY_STEP_BYTES = 128 * 2 ** 20;
/** A guest gives back gigabytes a second; one that has none to give never does. */
const BALLOON_MS = 10_000;
const POLL_MS = 20;

export interface MemoryBounds {
  /** What the machine started with. */
  memoryBytes: number;
  maxMemoryBytes: number;
  /** Whether other processes map it. */
  sharedMemory: boolean;
}

/**
 * Gives the guest `bytes`, as Domain.setMemory says: below what the machine has by its balloon; beyond, a module is plugged in, in
 * whole steps, and stays. Fails leaving all as it was.
 */
export async function setMemory(qmp: QmpClient, bounds: MemoryBounds, bytes: number): Promise<number> {
  const { maxMemoryBytes } = bounds;
  if (!Number.isInteger(bytes) || bytes < MINIMUM_MEMORY_BYTES || bytes > maxMemoryBytes) {
    const range = `${MINIMUM_MEMORY_BYTES >> 20} to ${Math.floor(maxMemoryBytes / 2 ** 20)} MiB`;
    throw bridgeError("INVALID_ARGUMENT", "INVALID_MEMORY", `this zone can have ${range}, not ${bytes} bytes`);
  }
  const plugged = await pluggedModules(qmp);
  const present = bounds.memoryBytes + plugged.bytes;
  if (bytes <= present) return inflate(qmp, bytes);
  const wanted = Math.ceil((bytes - present) / MEMORY_STEP_BYTES) * MEMORY_STEP_BYTES;
  const room = Math.floor((maxMemoryBytes - present) / MEMORY_STEP_BYTES) * MEMORY_STEP_BYTES;
  const size = Math.min(wanted, room);
  if (size > 0) await plug(qmp, bounds.sharedMemory, nextNumber(plugged.ids), size);
  return inflate(qmp, present + size);
}

/** Moves the balloon until the guest has `bytes`. HOTPLUG_FAILED when it does not get there: then it goes back. */
async function inflate(qmp: QmpClient, bytes: number): Promise<number> {
  const before = await actual(qmp);
  if (before === bytes) return bytes;
  await qmp.execute("balloon", { value: bytes });
  const deadline = performance.now() + BALLOON_MS;
  for (;;) {
    const now = await actual(qmp);
    // The balloon counts pages of 4 KiB.
    if (Math.abs(now - bytes) < 4096) return now;
    if (performance.now() > deadline) {
      await qmp.execute("balloon", { value: before });
      const message = `the zone has ${now >> 20} MiB and does not get to ${bytes >> 20}: it uses its memory, is paused, or has no balloon driver`;
      throw bridgeError("FAILED_PRECONDITION", "HOTPLUG_FAILED", message);
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

async function actual(qmp: QmpClient): Promise<number> {
  const balloon = (await qmp.execute("query-balloon")) as { actual?: unknown } | undefined;
  if (typeof balloon?.actual !== "number") throw new Error("QEMU says no size of memory");
  return balloon.actual;
}

async function plug(qmp: QmpClient, shared: boolean, number: number, size: number): Promise<void> {
  const [backend, module] = [`memory-${number}`, `dimm-${number}`];
  const type = shared ? { "qom-type": "memory-backend-memfd", share: true } : { "qom-type": "memory-backend-ram" };
  try {
    await qmp.execute("object-add", { ...type, id: backend, size, merge: false, dump: false });
    try {
      await qmp.execute("device_add", { driver: "pc-dimm", id: module, memdev: backend });
    } catch (error) {
      await qmp.execute("object-del", { id: backend });
      throw error;
    }
  } catch (error) {
    throw hotplugFailed(`${size >> 20} MiB of memory cannot be plugged in`, error);
  }
}

/** Modules by what the VMM says: they are never taken out. */
async function pluggedModules(qmp: QmpClient): Promise<{ bytes: number; ids: string[] }> {
  const devices = (await qmp.execute("query-memory-devices")) as { data?: { id?: unknown; size?: unknown } }[];
  const modules = Array.isArray(devices) ? devices.map(({ data }) => data) : [];
  return {
    bytes: modules.reduce((sum, module) => sum + (typeof module?.size === "number" ? module.size : 0), 0),
    ids: modules.map((module) => String(module?.id)),
  };
}

function nextNumber(ids: readonly string[]): number {
  let number = 0;
  while (ids.includes(`dimm-${number}`)) number++;
  return number;
}
