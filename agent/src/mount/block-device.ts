import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { agentError } from "../errors.js";
import { lookUntilFound } from "./uevents.js";

/** Where block devices are looked for: /sys/block and /dev. */
export interface BlockPaths {
  sysBlock: string;
  dev: string;
}

/**
 * The device node of the virtio-blk disk with this serial, as soon as it is there; DEVICE_NOT_FOUND after `waitMs`. Rejects when `signal`
 * is aborted. A look costs one folder and one small file per disk; the kernel tells when another is due.
 */
export async function findBlockDevice(
  serial: string,
  waitMs: number,
  paths: BlockPaths,
  signal?: AbortSignal,
): Promise<string> {
  const device = await lookUntilFound(() => lookForDevice(serial, paths), {
    waitMs,
    subsystem: "block",
    // Of a folder that stands for sysfs the kernel tells nothing.
    events: paths.sysBlock === "/sys/block",
    ...(signal ? { signal } : {}),
  });
  if (device !== undefined) return device;
  throw agentError(
    "NOT_FOUND",
    "DEVICE_NOT_FOUND",
    `no disk with serial "${serial}" has appeared within ${waitMs} ms`,
    {
      resource: { type: "block-device", name: serial },
    },
  );
}

function lookForDevice(serial: string, { sysBlock, dev }: BlockPaths): string | undefined {
  for (const name of readdirSync(sysBlock)) {
    // The kernel's own disks have no serial, and are many.
    if (/^(loop|ram|zram|dm-|md)/.test(name)) continue;
    if (readSerial(join(sysBlock, name, "serial")) !== serial) continue;
    const node = join(dev, name);
    if (statSync(node, { throwIfNoEntry: false })) return node;
  }
  return undefined;
}

function readSerial(path: string): string | undefined {
  try {
    return readFileSync(path, "latin1").trim();
  } catch {
    return undefined; // no serial, or the disk is gone again
  }
}
