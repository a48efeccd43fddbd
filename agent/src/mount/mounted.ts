import { constants, openSync, readdirSync, readFileSync, readlinkSync, rmdirSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { closeFd, MNT_DETACH, openAt, openInRoot, unmountAt, unmountFd } from "@zone/native";
import { deviceNumber, O_PATH, withFd } from "../descriptors.js";
import { agentError, describe, errnoOf } from "../errors.js";
import { type MountInfo, utf8 } from "./mountinfo.js";
import { tryOpen } from "./place.js";

/** Where mounts are, as the zone sees it: a container's root, or for those of the zone the folder of their names. */
export interface MountRoot {
  /** "" for the zone. */
  containerId: string;
  path: string;
}

/** The id, as in mountinfo, of the mount that a descriptor is in. proc_pid_fdinfo(5). */
export function mountIdOf(fd: number): number {
  const [, id] = /^mnt_id:\s*(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, "latin1")) ?? [];
  if (id === undefined) throw new Error(`descriptor ${fd} is in no mount`);
  return Number(id);
}

/** Whether a descriptor is the root of its mount. */
export function isRootOf(fd: number, info: MountInfo): boolean {
  return readlinkSync(`/proc/self/fd/${fd}`, { encoding: "buffer" }).toString("latin1") === info.target;
}

/** The id of the mount whose root `target` is, by its links as they are now; undefined when it is none. */
export function mountAt(root: MountRoot, target: string, infos: readonly MountInfo[]): number | undefined {
  let fd: number | undefined;
  try {
    fd = withFd(openSync(root.path, O_PATH | constants.O_DIRECTORY), (rootFd) => tryOpen(rootFd, target));
  } catch (error) {
    if (["ENOENT", "ENOTDIR", "ELOOP", "ENAMETOOLONG"].includes(errnoOf(error) ?? "")) return undefined;
    throw error;
  }
  if (fd === undefined) return undefined;
  return withFd(fd, (found) => {
    const info = infos.find(({ id }) => id === mountIdOf(found));
    return info && isRootOf(found, info) ? info.id : undefined;
  });
}

/** The mount with this id, when it is still below the root. */
export function findMounted(infos: readonly MountInfo[], id: number, root: MountRoot): MountInfo | undefined {
  const info = infos.find((one) => one.id === id);
  return info?.target.startsWith(`${latin1(root.path)}/`) ? info : undefined;
}

export function latin1(path: string): string {
  return Buffer.from(path).toString("latin1");
}

/** An O_PATH descriptor of the mount's own root, which the caller closes. Throws ENOENT when something else is there now. */
export function openMounted(root: MountRoot, info: MountInfo): number {
  const { parent, name } = openParent(root, info);
  return withFd(parent, () => {
    const fd = openAt(parent, name, O_PATH | constants.O_NOFOLLOW);
    if (mountIdOf(fd) === info.id) return fd;
    closeFd(fd);
    throw Object.assign(new Error(`${utf8(info.target)} is covered, or has moved`), { code: "ENOENT" });
  });
}

/** The folder that the mount is in. The kernel has told the path without links: one in it now is a container's trick (ELOOP). */
function openParent(root: MountRoot, info: MountInfo): { parent: number; name: Buffer } {
  const path = info.target.slice(latin1(root.path).length + 1);
  const folder = dirname(path);
  const parent = withFd(openSync(root.path, O_PATH | constants.O_DIRECTORY), (rootFd) =>
    openInRoot(rootFd, Buffer.from(folder, "latin1"), O_PATH | constants.O_DIRECTORY, 0, { noSymlinks: true }),
  );
  return { parent, name: Buffer.from(path.slice(path.lastIndexOf("/") + 1), "latin1") };
}

/** All mounts below one, a mount before those on it. */
export function mountsBelow(infos: readonly MountInfo[], id: number): MountInfo[] {
  return infos
    .filter((info) => info.parentId === id && info.id !== id)
    .flatMap((info) => [info, ...mountsBelow(infos, info.id)]);
}

/**
 * Unmounts one, with `recursive` those below it first. MOUNT_BUSY with what is known of why; a lazy one takes all that is below
 * along. Nothing is walked that a container could change between a look and the unmount, but for the last name, where only a
 * mount point of the same container could have come.
 */
export function unmountTree(
  root: MountRoot,
  info: MountInfo,
  infos: readonly MountInfo[],
  { lazy, recursive }: { lazy: boolean; recursive: boolean },
): void {
  const below = mountsBelow(infos, info.id);
  if (below.length > 0 && !recursive && !lazy) {
    const names = below.slice(0, 5).map(({ target }) => utf8(target.slice(latin1(root.path).length)));
    throw busy(root, info, `${below.length} mounts are below it: ${names.join(", ")}`);
  }
  for (const one of recursive ? below.reverse() : []) unmountOne(root, one, lazy);
  unmountOne(root, info, lazy);
}

function unmountOne(root: MountRoot, info: MountInfo, lazy: boolean): void {
  try {
    closeFd(openMounted(root, info));
    const { parent, name } = openParent(root, info);
    withFd(parent, () => {
      const text = name.toString();
      if (Buffer.from(text).equals(name)) unmountAt(parent, text, lazy ? MNT_DETACH : 0);
      // A name that is no UTF-8 cannot be said to umount2(2) here; the descriptor can, but it is a user itself.
      else withFd(openAt(parent, name, O_PATH | constants.O_NOFOLLOW), (fd) => unmountFd(fd, MNT_DETACH));
    });
  } catch (error) {
    const code = errnoOf(error);
    if (code === "EBUSY") throw busy(root, info, usersOf(info));
    throw agentError("INTERNAL", "MOUNT_FAILED", `cannot unmount ${utf8(info.target)}: ${describe(error)}`, {
      metadata: { source: utf8(info.source), target: utf8(info.target), errno: code ?? "" },
      cause: error,
    });
  }
}

function busy(root: MountRoot, info: MountInfo, why: string): Error {
  const target = utf8(info.target.slice(latin1(root.path).length));
  return agentError(
    "FAILED_PRECONDITION",
    "MOUNT_BUSY",
    `${target} is in use: ${why}; end its users, or unmount lazily`,
    {
      resource: { type: "mount", name: target },
    },
  );
}

/** Removes a folder of the agent's own and what may be mounted on it. */
export function removeMountPoint(folder: string, name: string): void {
  try {
    withFd(openSync(folder, O_PATH | constants.O_DIRECTORY), (fd) => unmountAt(fd, name, MNT_DETACH));
  } catch (error) {
    if (!["EINVAL", "ENOENT"].includes(errnoOf(error) ?? "")) throw error; // nothing is mounted there
  }
  try {
    rmdirSync(join(folder, name));
  } catch (error) {
    if (errnoOf(error) !== "ENOENT") throw error;
  }
}

const PROCESSES_SEEN = 1024;
const USERS_NAMED = 8;
/** A look at one of their files can hang when whoever serves it does not answer. */
const REMOTE = new Set(["virtiofs", "9p"]);

/** Processes that have a folder or file of the file system open, as far as /proc tells. */
function usersOf({ device, type }: MountInfo): string {
  if (REMOTE.has(type)) return "by whom is not known";
  const [major = 0, minor = 0] = device.split(":").map(Number);
  const users: string[] = [];
  for (const pid of readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .slice(0, PROCESSES_SEEN)) {
    if (users.length === USERS_NAMED) break;
    if (uses(pid, major, minor)) users.push(`${pid} (${commandOf(pid)})`);
  }
  return users.length === 0 ? "by whom is not known" : `by the processes ${users.join(", ")}`;
}

function uses(pid: string, major: number, minor: number): boolean {
  try {
    const fds = readdirSync(`/proc/${pid}/fd`).map((fd) => `fd/${fd}`);
    return ["cwd", "root", "exe", ...fds].some((link) => {
      const dev = statSync(`/proc/${pid}/${link}`, { throwIfNoEntry: false })?.dev;
      if (dev === undefined) return false;
      const found = deviceNumber(dev);
      return found.major === major && found.minor === minor;
    });
  } catch {
    return false; // it has ended
  }
}

function commandOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, "utf8").trim();
  } catch {
    return "?";
  }
}
