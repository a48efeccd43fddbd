import { spawn } from "node:child_process";
import { link, open, rm } from "node:fs/promises";
import { delimiter } from "node:path";
import { bridgeError, errorMessage } from "../errors.js";

/** ext4 with 4 KiB blocks, so that what the guest frees can be punched out of the file whatever the volume's size. */
const BLOCK_BYTES = 4096;
const MKFS_TIMEOUT_MS = 120_000;
const MAX_SAID_BYTES = 4096;
/** Debian has it where a user's PATH may not look. */
const SBIN: readonly string[] = ["/usr/sbin", "/sbin"];

/**
 * Makes an empty ext4 file system of `bytes` in a sparse file that appears at `path` when it is whole. mke2fs(8) only ever sees a
 * file that was made here and now: it never parses what a zone has written, nor takes such a file's place (NAME_IN_USE).
 * MKFS_MISSING, DISK_FULL.
 */
export async function makeVolume(path: string, bytes: number, env: NodeJS.ProcessEnv, sbin = SBIN): Promise<void> {
  const fresh = `${path}.new`;
  await rm(fresh, { force: true }); // of a bridge that was killed meanwhile
  const file = await open(fresh, "wx", 0o600);
  try {
    await file.truncate(bytes);
    await mkfs(fresh, [...(env.PATH ?? "").split(delimiter).filter(Boolean), ...sbin]);
    await file.sync();
    await link(fresh, path);
  } catch (thrown) {
    throw asZoneError(thrown, path);
  } finally {
    await file.close();
    await rm(fresh, { force: true });
  }
}

async function mkfs(path: string, folders: readonly string[]): Promise<void> {
  // A punched file reads as zeros, so no inode table needs to be written, neither here (lazy_*) nor by the guest (discard).
  const extended = "discard,lazy_itable_init=1,lazy_journal_init=1,root_owner=0:0";
  const args = ["-q", "-F", "-b", String(BLOCK_BYTES), "-m", "0", "-E", extended, path];
  const child = spawn("mkfs.ext4", args, {
    stdio: ["ignore", "ignore", "pipe"],
    env: { PATH: folders.join(delimiter), LC_ALL: "C" },
    timeout: MKFS_TIMEOUT_MS,
    killSignal: "SIGKILL",
  });
  let said = "";
  child.stderr.setEncoding("utf8");
  child.stderr.on("data", (text: string) => {
    if (said.length < MAX_SAID_BYTES) said += text;
  });
  const end = await new Promise<string>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code, signal) => resolve(signal ?? String(code)));
  }).catch((thrown) => {
    const missing = thrown instanceof Error && "code" in thrown && thrown.code === "ENOENT";
    const message = missing
      ? "volumes need mkfs.ext4: apt-get install e2fsprogs"
      : `mkfs.ext4 cannot be run: ${errorMessage(thrown)}`;
    throw bridgeError("FAILED_PRECONDITION", "MKFS_MISSING", message, undefined, thrown);
  });
  if (end === "0") return;
  const why = said.trim().replaceAll(/\s+/g, " ").slice(0, 300);
  if (/no space left/i.test(why)) throw diskFull(path);
  throw new Error(`mkfs.ext4 ended with ${end}: ${why}`);
}

function asZoneError(thrown: unknown, path: string): unknown {
  const code = thrown instanceof Error && "code" in thrown ? thrown.code : undefined;
  if (code === "ENOSPC") return diskFull(path);
  if (code !== "EEXIST") return thrown;
  const message = `${path} is there, but no volume of this bridge's: move it away, or choose another name`;
  return bridgeError("ALREADY_EXISTS", "NAME_IN_USE", message, undefined, thrown);
}

function diskFull(path: string) {
  return bridgeError("RESOURCE_EXHAUSTED", "DISK_FULL", `the disk of ${path} is full: make room`);
}
