import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { agentError } from "../errors.js";

/** Where block devices are looked for: /sys/block and /dev. */
export interface BlockPaths {
  sysBlock: string;
  dev: string;
}

const POLL_MIN_MS = 2;
const POLL_MAX_MS = 50;

/**
 * The device node of the virtio-blk disk with this serial, as soon as it is there; DEVICE_NOT_FOUND after `waitMs`.
 * sysfs has no inotify for what the kernel makes, and Node no netlink for uevents: so it is polled, closely at first. A look
 * costs one directory and one small file per disk.
 */
export async function findBlockDevice(serial: string, waitMs: number, paths: BlockPaths): Promise<string> {
  const deadline = performance.now() + waitMs;
  for (let pause = POLL_MIN_MS; ; pause = Math.min(pause * 2, POLL_MAX_MS)) {
    const device = lookForDevice(serial, paths);
    if (device !== undefined) return device;
    if (performance.now() >= deadline) break;
    await setTimeout(pause);
  }
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
