import type { zone } from "@zone/proto";
import { VOLUME_NAME_PATTERN, VOLUME_NAME_RULE } from "../volumes/volume-name.js";
import { checkCount, invalid, quote } from "./spec-error.js";

export type ZoneMount = zone.bridge.v1.ZoneMount.$Properties;
export type ZoneFile = zone.bridge.v1.ZoneFile.$Properties;

const MAX_MOUNTS = 64;
/** PATH_MAX with its NUL. */
const MAX_PATH_BYTES = 4095;
const MAX_OPTIONS = 32;
const MAX_OPTION_LENGTH = 256;
const MAX_FILES = 256;
/** Of all files of one mount together, and of a file of the host that is copied into a zone. */
export const MAX_FILES_BYTES = 1024 * 1024;
const MAX_NAME_BYTES = 255;
const MAX_ID = 0xffff_fffe;
const PERMISSION_BITS = 0o7777;
const CONTROL_CHARACTERS = /\p{Cc}/u;

/** Checks what needs no look at the host: INVALID_MOUNT, INVALID_FILES, INVALID_NAME. Answers with targets as they are kept. */
export function checkMounts(mounts: readonly ZoneMount[]): ZoneMount[] {
  checkCount("INVALID_MOUNT", "mounts", mounts, MAX_MOUNTS);
  const targets = new Set<string>();
  const volumes = new Set<string>();
  return mounts.map((mount) => {
    const target = checkTarget(mount.target ?? "");
    if (targets.has(target)) {
      throw invalid("INVALID_MOUNT", `two mounts have the same target, ${quote(target)}: give each one of its own`);
    }
    targets.add(target);
    if (mount.host) checkHostPath(mount.host.path ?? "");
    else if (mount.volume) {
      const name = checkVolumeName(mount.volume.name ?? "");
      if (volumes.has(name)) {
        throw invalid("INVALID_MOUNT", `volume ${name} is mounted twice: a zone can have a volume at one place only`);
      }
      volumes.add(name);
    } else if (mount.tmpfs) checkOptions(mount.tmpfs.options ?? []);
    else if (mount.files) checkFiles(mount.files.files ?? []);
    else {
      const message = `the mount at ${quote(target)} says not what to mount: name a host folder, a volume, tmpfs or files`;
      throw invalid("INVALID_MOUNT", message);
    }
    return { ...mount, target };
  });
}

/** A mount's target without what makes no difference ("//", "/./", a last "/"). INVALID_MOUNT. */
export function checkTarget(target: string): string {
  const wrong = pathProblem(target);
  const parts = target.split("/").filter((part) => part !== "" && part !== ".");
  const why = wrong ?? (parts.includes("..") ? 'it must not contain ".."' : undefined);
  if (why) throw invalid("INVALID_MOUNT", `${quote(target)} cannot be a mount's target: ${why}`);
  if (parts.length === 0) {
    throw invalid("INVALID_MOUNT", `${quote(target)} cannot be a mount's target: the image is mounted there`);
  }
  return `/${parts.join("/")}`;
}

/** INVALID_MOUNT unless `path` can be one of the host. */
export function checkHostPath(path: string): void {
  const wrong = pathProblem(path);
  if (wrong) throw invalid("INVALID_MOUNT", `${quote(path)} cannot be mounted from the host: ${wrong}`);
}

function pathProblem(path: string): string | undefined {
  if (!path.startsWith("/")) return "give an absolute path";
  if (Buffer.byteLength(path) > MAX_PATH_BYTES) return `it is longer than ${MAX_PATH_BYTES} bytes`;
  if (CONTROL_CHARACTERS.test(path)) return "it holds a control character";
  return undefined;
}

/** A volume's name; INVALID_NAME. */
export function checkVolumeName(name: string): string {
  if (!VOLUME_NAME_PATTERN.test(name)) {
    throw invalid("INVALID_NAME", `${quote(name)} cannot be a volume's name: ${VOLUME_NAME_RULE}`);
  }
  return name;
}

function checkOptions(options: readonly string[]): void {
  checkCount("INVALID_MOUNT", "mount options", options, MAX_OPTIONS);
  for (const option of options) {
    if (option.length === 0 || option.length > MAX_OPTION_LENGTH || CONTROL_CHARACTERS.test(option)) {
      const message = `${quote(option)} cannot be an option of tmpfs: give such as size=64m, mode=1777 or exec`;
      throw invalid("INVALID_MOUNT", message);
    }
  }
}

/** INVALID_FILES unless these can be the content of a files mount. */
export function checkFiles(files: readonly ZoneFile[]): void {
  checkCount("INVALID_FILES", "files", files, MAX_FILES);
  const paths = new Set<string>();
  let bytes = 0;
  for (const { path, data, mode, uid, gid } of files) {
    const name = path ?? "";
    if (name === "" && files.length > 1) {
      throw invalid("INVALID_FILES", "a file without a path is the mount's target itself: it must be the only one");
    }
    if (name !== "") checkFilePath(name);
    if (paths.has(name)) throw invalid("INVALID_FILES", `two files have the same path, ${quote(name)}`);
    paths.add(name);
    if ((mode ?? 0) > PERMISSION_BITS) {
      const message = `${(mode ?? 0).toString(8)} cannot be the mode of ${quote(name)}: give permission bits such as 0444`;
      throw invalid("INVALID_FILES", message);
    }
    if ((uid ?? 0) > MAX_ID || (gid ?? 0) > MAX_ID) {
      throw invalid("INVALID_FILES", `the owner of ${quote(name)} cannot be: ids go to ${MAX_ID}`);
    }
    bytes += data?.length ?? 0;
  }
  for (const path of paths) {
    for (let at = path.indexOf("/"); at >= 0; at = path.indexOf("/", at + 1)) {
      if (!paths.has(path.slice(0, at))) continue;
      throw invalid("INVALID_FILES", `${quote(path.slice(0, at))} cannot be both a file and the folder of another`);
    }
  }
  if (bytes > MAX_FILES_BYTES) {
    const message = `the files of a mount are ${bytes} bytes together: they stay in memory, give at most ${MAX_FILES_BYTES}`;
    throw invalid("INVALID_FILES", message);
  }
}

function checkFilePath(path: string): void {
  const parts = path.split("/");
  const unfit = (part: string) =>
    part === "" || part === "." || part === ".." || Buffer.byteLength(part) > MAX_NAME_BYTES;
  // The agent keeps versions of the mount under such names.
  const reserved = parts[0]?.startsWith("..");
  if (reserved || parts.some(unfit) || CONTROL_CHARACTERS.test(path) || Buffer.byteLength(path) > MAX_PATH_BYTES) {
    const rule = 'give a path relative to the mount, without "..", with names of at most 255 bytes';
    throw invalid("INVALID_FILES", `${quote(path)} cannot be a file's path: ${rule}`);
  }
}
