import { chmod, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { BuildError } from "./errors.js";
import { run } from "./run.js";
import { complete, type Entry } from "./tree.js";

/**
 * mkfs.erofs(1): LZ4HC in clusters of 64 KiB is what a zone's node starts fastest from; no time, owner, extended attribute or
 * random identity of the build host gets in. The kernel of a zone can do more than this, but mkfs of Debian 12 cannot.
 */
export const EROFS_OPTIONS: readonly string[] = [
  "--quiet",
  "-zlz4hc",
  "-C65536",
  "-T0",
  "-x-1",
  "--all-root",
  "-U5a4f4e45-0000-4000-8000-000000000000",
];

/** Makes the erofs `image` from the entries, through the folder `staging`, which must not exist yet. */
export async function makeErofs(entries: readonly Entry[], staging: string, image: string): Promise<void> {
  await mkdir(staging);
  await chmod(staging, 0o755);
  for (const entry of complete(entries)) {
    const path = join(staging, entry.path);
    if (entry.kind === "directory") await mkdir(path);
    else if (entry.kind === "file") await writeFile(path, entry.content, { flag: "wx" });
    else
      throw new BuildError(`${entry.path}: a device node has no place in the root file system, which has /dev mounted`);
    await chmod(path, entry.mode); // not left to the umask
  }
  await run("mkfs.erofs", [...EROFS_OPTIONS, image, staging]);
}
