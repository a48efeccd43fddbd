import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { errnoOf } from "../errors.js";

/** The disks of the zone that have a serial, by their number: "254:0" to "w0". `sysBlock` is /sys/block. */
export function blockSerials(sysBlock: string): Map<string, string> {
  const serials = new Map<string, string>();
  for (const name of readdirSync(sysBlock)) {
    const number = readLine(join(sysBlock, name, "dev"));
    const serial = readLine(join(sysBlock, name, "serial"));
    if (number && serial) serials.set(number, serial);
  }
  return serials;
}

function readLine(path: string): string | undefined {
  try {
    return readFileSync(path, "latin1").trim();
  } catch (error) {
    // No serial (ENOENT), or a disk that is just being taken away.
    if (["ENOENT", "ENODEV", "ENXIO"].includes(errnoOf(error) ?? "")) return undefined;
    throw error;
  }
}
