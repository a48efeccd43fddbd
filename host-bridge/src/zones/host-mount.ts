import { constants } from "node:fs";
import { mkdir, open, realpath, stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import type { ZoneError } from "@zone/proto";
import { bridgeError } from "../errors.js";
import { MAX_FILES_BYTES, type ZoneFile, type ZoneMount } from "./mount-spec.js";
import { invalid, quote } from "./spec-error.js";

const CREATED_MODE = 0o755;

/** What of the host a zone is given: a folder, followed as it changes, or the content that a file has now. */
export type HostSource = { kind: "folder"; path: string } | { kind: "file"; file: ZoneFile };

/**
 * Whether these mounts may be made by whoever asks for them, and can be now: SOURCE_DENIED (a zone would read, and write, with the
 * bridge's rights), SOURCE_NOT_FOUND, INVALID_MOUNT.
 */
export async function checkHostMounts(mounts: readonly ZoneMount[], caller: { admin: boolean }): Promise<void> {
  for (const { host } of mounts) {
    if (!host) continue;
    const path = host.path ?? "";
    if (!caller.admin) {
      const message = `${quote(path)} cannot be mounted: only root, and the user that zone-bridge runs as, may share folders of the host`;
      throw bridgeError("PERMISSION_DENIED", "SOURCE_DENIED", message, resource(path));
    }
    const found = await stat(path).catch((thrown) => missing(path, host.mustExist ?? false, thrown));
    if (found && !found.isDirectory() && !found.isFile()) throw unfit(path);
  }
}

function missing(path: string, mustExist: boolean, thrown: unknown): undefined {
  const code = thrown instanceof Error && "code" in thrown ? thrown.code : undefined;
  if (code === "ENOENT" && !mustExist) return undefined;
  throw notFound(path, code === "ENOENT" ? "it is not there" : String(code ?? thrown));
}

/**
 * Looks at what is at `path` now, links resolved; a folder is made when nothing is there and nothing must be.
 * SOURCE_NOT_FOUND, INVALID_MOUNT.
 */
export async function openHostSource(path: string, mustExist: boolean): Promise<HostSource> {
  const real = await resolved(path, mustExist);
  const file = await open(real, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW).catch((thrown) => {
    throw notFound(path, thrown.code === "ENXIO" ? "it is a socket" : String(thrown.code));
  });
  try {
    const found = await file.stat();
    if (found.isDirectory()) return { kind: "folder", path: real };
    if (!found.isFile()) throw unfit(path);
    // One byte more than allowed tells of a file that is too large, whatever its size says.
    const buffer = Buffer.alloc(Math.min(found.size, MAX_FILES_BYTES) + 1);
    let length = 0;
    for (let read = -1; read !== 0 && length < buffer.length; length += read) {
      read = (await file.read(buffer, length, buffer.length - length)).bytesRead;
    }
    if (length > MAX_FILES_BYTES || found.size > MAX_FILES_BYTES) {
      const rule = `a single file is copied into the zone's memory, at most ${MAX_FILES_BYTES} bytes: mount its folder`;
      throw invalid("INVALID_MOUNT", `${quote(path)} is too large to be mounted: ${rule}`);
    }
    const { mode, uid, gid } = found;
    return {
      kind: "file",
      file: { path: "", data: buffer.subarray(0, length), mode: mode & 0o777 || 0o400, uid, gid },
    };
  } finally {
    await file.close();
  }
}

async function resolved(path: string, mustExist: boolean): Promise<string> {
  try {
    return await realpath(path);
  } catch (thrown) {
    missing(path, mustExist, thrown);
  }
  try {
    await makeFolders(resolve(path));
    return await realpath(path);
  } catch (thrown) {
    const code = thrown instanceof Error && "code" in thrown ? thrown.code : thrown;
    throw notFound(path, `it cannot be made as a folder: ${code}`);
  }
}

/** Makes a folder, and those above it, with CREATED_MODE whatever the umask: a zone's users are to get at it. */
async function makeFolders(path: string): Promise<void> {
  const first = await mkdir(path, { recursive: true, mode: CREATED_MODE });
  if (first === undefined) return;
  for (let made = path; made.length >= first.length; made = dirname(made)) {
    const folder = await open(made, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
    try {
      await folder.chmod(CREATED_MODE);
    } finally {
      await folder.close();
    }
  }
}

function unfit(path: string): ZoneError {
  return invalid("INVALID_MOUNT", `${quote(path)} cannot be mounted: give a folder or a file, not a socket or device`);
}

function notFound(path: string, why: string): ZoneError {
  const message = `${quote(path)} cannot be mounted from the host: ${why}`;
  return bridgeError("NOT_FOUND", "SOURCE_NOT_FOUND", message, resource(path));
}

function resource(path: string) {
  return { type: "host path", name: path.slice(0, 200) };
}
