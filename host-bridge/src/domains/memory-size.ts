import { bridgeError } from "../errors.js";
import { hotplugFailed } from "./plugged-disks.js";
import type { QmpClient, QmpEvent } from "./qmp.js";
import { MINIMUM_MEMORY_BYTES } from "./template-build.js";

/** Linux brings memory online in blocks of this size on x86-64 (memory_block_size_bytes). */
export const MEMORY_STEP_BYTES = 128 * 2 ** 20;
/** A guest gives back gigabytes a second; one that has none to give never does. */
const BALLOON_MS = 10_000;
const POLL_MS = 20;
/** A guest that can do without a module moves what is in it elsewhere first. */
const UNPLUG_MS = 5_000;

export interface MemoryBounds {
  /** What the machine started with. */
  memoryBytes: number;
  maxMemoryBytes: number;
  /** Whether other processes map it. */
  sharedMemory: boolean;
}

/**
 * Gives the guest `bytes`, as Domain.setMemory says: below what the machine has by its balloon; beyond, a module is plugged in, in
 * whole steps. Modules that are not needed any more are taken out where the guest can do without just them; else the balloon
 * takes as much. Fails leaving as much memory as there was.
 */
export async function setMemory(qmp: QmpClient, bounds: MemoryBounds, bytes: number): Promise<number> {
  const { maxMemoryBytes } = bounds;
  if (!Number.isInteger(bytes) || bytes < MINIMUM_MEMORY_BYTES || bytes > maxMemoryBytes) {
    const range = `${MINIMUM_MEMORY_BYTES >> 20} to ${Math.floor(maxMemoryBytes / 2 ** 20)} MiB`;
    throw bridgeError("INVALID_ARGUMENT", "INVALID_MEMORY", `this zone can have ${range}, not ${bytes} bytes`);
  }
  const modules = await pluggedModules(qmp);
  const present = bounds.memoryBytes + modules.reduce((sum, { size }) => sum + size, 0);
  if (bytes <= present) {
    await unplug(qmp, modules, present - bytes);
    return inflate(qmp, bytes);
  }
  const wanted = Math.ceil((bytes - present) / MEMORY_STEP_BYTES) * MEMORY_STEP_BYTES;
  const room = Math.floor((maxMemoryBytes - present) / MEMORY_STEP_BYTES) * MEMORY_STEP_BYTES;
  const size = Math.min(wanted, room);
  if (size > 0) await plug(qmp, bounds.sharedMemory, nextNumber(modules), size);
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

/** Takes out modules of `bytes` at most, the last first, until the guest keeps one: it may have things in it that cannot be moved. */
async function unplug(qmp: QmpClient, modules: readonly MemoryModule[], bytes: number): Promise<void> {
  let left = bytes;
  for (const { number, size } of [...modules].sort((a, b) => b.number - a.number)) {
    if (size > left) return;
    const id = `dimm-${number}`;
    const answer = qmp.event(`the unplugging of ${id}`, (event) => isAnswer(event, id), UNPLUG_MS);
    answer.catch(() => {}); // device_del may fail first
    try {
      await qmp.execute("device_del", { id });
      if ((await answer).name !== "DEVICE_DELETED") return;
    } catch (error) {
      if (/^QMP_(TIMEOUT|FAILED)$/.test((error as { reason?: string }).reason ?? "")) return;
      throw error;
    }
    await qmp.execute("object-del", { id: `memory-${number}` });
    left -= size;
  }
}

/** DEVICE_DELETED, or one of those that say that the guest refuses. */
function isAnswer({ name, data }: QmpEvent, id: string): boolean {
  if (name === "ACPI_DEVICE_OST") return isRefusal(data.info, id);
  return /^(DEVICE_DELETED|MEM_UNPLUG_ERROR|DEVICE_UNPLUG_GUEST_ERROR)$/.test(name) && data.device === id;
}

/** _OST of an ejection request (ACPI 6.3.5): success is told by the device's end, and that it is at work by 0x84. */
function isRefusal(info: unknown, id: string): boolean {
  const { device, source, status } = (info ?? {}) as Record<string, unknown>;
  return device === id && (source === 3 || source === 0x103) && status !== 0 && status !== 0x84;
}

interface MemoryModule {
  number: number;
  size: number;
}

/** By what the VMM says. */
async function pluggedModules(qmp: QmpClient): Promise<MemoryModule[]> {
  const devices = await qmp.execute("query-memory-devices");
  const all = Array.isArray(devices) ? (devices as { data?: { id?: unknown; size?: unknown } }[]) : [];
  return all.flatMap(({ data }) => {
    const number = /^dimm-(\d+)$/.exec(String(data?.id))?.[1];
    return number !== undefined && typeof data?.size === "number" ? [{ number: Number(number), size: data.size }] : [];
  });
}

function nextNumber(modules: readonly MemoryModule[]): number {
  return Math.max(-1, ...modules.map(({ number }) => number)) + 1;
}
