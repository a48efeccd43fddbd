import { closeSync, constants, openSync, readdirSync, readFileSync, readSync } from "node:fs";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { streamFromFd } from "@zone/native";
import { codeOf } from "./unix.js";

/** Where the agent finds its port. */
export interface PortPaths {
  /** Default /sys/class/virtio-ports: a folder per port, with its name (QEMU: `-device virtserialport,name=`) in the file `name`. */
  readonly sysDir?: string;
  /** Default /dev. */
  readonly devDir?: string;
}

const POLL_MIN_MS = 5;
const POLL_MAX_MS = 20;

/** The device of the virtio-serial port called `name`, such as /dev/vport1p1. Throws ENOENT when there is none. */
export function findVirtioPort(name: string, paths: PortPaths = {}): string {
  const { sysDir = "/sys/class/virtio-ports", devDir = "/dev" } = paths;
  for (const device of readdirSync(sysDir)) {
    if (readFileSync(join(sysDir, device, "name"), "utf8").trim() === name) return join(devDir, device);
  }
  throw Object.assign(new Error(`ENOENT: no virtio-serial port is called ${name}`), { code: "ENOENT" });
}

/**
 * Opens the agent's end of a virtio-serial port, and waits until the host's end is connected. While it is not, reads give EOF at
 * once, and poll(2) always says POLLHUP (drivers/char/virtio_console.c), so there is nothing to wait on: one read now and then.
 * Throws what the system calls say; AbortError when aborted.
 */
export async function openVirtioPort(device: string, signal: AbortSignal): Promise<Duplex> {
  const fd = openSync(device, constants.O_RDWR | constants.O_NONBLOCK | constants.O_NOCTTY);
  let first: Buffer;
  try {
    first = await firstBytes(fd, signal);
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  const port = streamFromFd(fd, { readable: true, writable: true });
  if (first.length > 0) port.unshift(first);
  return port;
}

/** Settles when a read of the descriptor does not give EOF; with what that read took. */
async function firstBytes(fd: number, signal: AbortSignal): Promise<Buffer> {
  const buffer = Buffer.alloc(4096);
  for (let wait = POLL_MIN_MS; ; wait = Math.min(2 * wait, POLL_MAX_MS)) {
    try {
      const count = readSync(fd, buffer);
      if (count > 0) return buffer.subarray(0, count);
    } catch (error) {
      if (codeOf(error) === "EAGAIN") return buffer.subarray(0, 0);
      throw error;
    }
    await delay(wait, undefined, { signal });
  }
}
