import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { openZoneImage } from "../zone-image.js";

const repository = fileURLToPath(new URL("../../../../", import.meta.url));

/** The zone image that tests boot; undefined when none has been built. */
export function zoneImageDirectory(): string | undefined {
  const directory = process.env.ZONE_IMAGE_DIR ?? join(repository, ".cache/image/current");
  return existsSync(join(directory, "manifest.json")) ? directory : undefined;
}

/**
 * Makes, in `directory`, the zone image `from` with another PID 1: guest-init.c. The kernel unpacks the archives of an initramfs
 * one after the other (Documentation/driver-api/early-userspace/buffer-format.rst), so ours is appended and its /init stands.
 */
export async function makeGuestImage(from: string, directory: string, version = "test-1"): Promise<string> {
  const image = await openZoneImage(from);
  await mkdir(directory, { recursive: true });
  const init = join(directory, "init");
  const source = join(repository, "host-bridge/src/domains/testing/guest-init.c");
  await promisify(execFile)("musl-gcc", [
    "-std=gnu11",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-Os",
    "-static",
    "-o",
    init,
    source,
  ]);
  const original = await readFile(image.initramfs);
  const padding = Buffer.alloc((4 - (original.length % 4)) % 4);
  const archive = Buffer.concat([
    cpioEntry("init", 0o100755, await readFile(init)),
    cpioEntry("TRAILER!!!", 0, Buffer.alloc(0)),
  ]);
  await writeFile(join(directory, "initramfs.cpio"), Buffer.concat([original, padding, archive]));
  await symlink(image.kernel, join(directory, "vmlinuz"));
  await symlink(image.root, join(directory, "root.erofs"));
  const { kernelRelease, commandLine: cmdline } = image;
  const files = { vmlinuz: {}, "initramfs.cpio": {}, "root.erofs": {} };
  await writeFile(join(directory, "manifest.json"), JSON.stringify({ version, kernelRelease, cmdline, files }));
  return directory;
}

/** One file of a "newc" archive: 13 numbers of 8 hexadecimal digits, name and data padded to 4 bytes. */
function cpioEntry(name: string, mode: number, data: Buffer): Buffer {
  const numbers = [1, mode, 0, 0, 1, 0, data.length, 0, 0, 0, 0, name.length + 1, 0];
  const header = `070701${numbers.map((number) => number.toString(16).padStart(8, "0")).join("")}${name}\0`;
  const pad = (bytes: Buffer) => Buffer.concat([bytes, Buffer.alloc((4 - (bytes.length % 4)) % 4)]);
  return Buffer.concat([pad(Buffer.from(header, "latin1")), pad(data)]);
}
