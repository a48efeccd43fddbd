import { constants, fstatSync, openSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  closeFd,
  type FsOption,
  fsMount,
  MOUNT_ATTR,
  MS,
  makeNode,
  mkdirAt,
  moveMount,
  openAt,
  openInRoot,
  openTree,
  setMountAttributes,
  symlinkAt,
  unlinkAt,
} from "@zone/native";
import { O_PATH, withFd } from "../descriptors.js";
import { agentError, errnoOf } from "../errors.js";
import { DEFAULT_NODES, type DeviceNode, makeNodes } from "./devices.js";
import { mountFailed, mountOn } from "./mount-on.js";

/*
 * The root may be a folder that another container, which runs, writes to: whatever is there can become a link at any moment. So
 * a place in it is opened without following one, and used by that descriptor; who swaps names can only choose another place in
 * the same root.
 */

const NO_PROGRAMS = MOUNT_ATTR.NOSUID | MOUNT_ATTR.NODEV | MOUNT_ATTR.NOEXEC;
const PLACE = O_PATH | constants.O_NOFOLLOW;
const NEW_FILE = constants.O_RDONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
/** How often a name is looked at again that somebody else is changing. */
const TRIES = 100;

/** Of /dev/shm: its own of a size, or the folder of who shares its ipc namespace, at a path in a root that may be hostile. */
export type SharedMemory = { kind: "own"; bytes: number } | { kind: "shared"; root: string; path: string };

const LINKS: readonly [name: string, target: string][] = [
  ["fd", "/proc/self/fd"],
  ["stdin", "/proc/self/fd/0"],
  ["stdout", "/proc/self/fd/1"],
  ["stderr", "/proc/self/fd/2"],
  ["ptmx", "pts/ptmx"],
];

/** /dev with its nodes, and /dev/pts, /dev/shm, and a place for PID 1 to mount /dev/mqueue at. */
export function mountDev(rootFd: number, devices: readonly DeviceNode[], sharedMemory: SharedMemory): void {
  const options = [
    ["size", "64k"],
    ["mode", "0755"],
  ] as const;
  const attributes = MOUNT_ATTR.NOSUID | MOUNT_ATTR.STRICTATIME;
  withFd(newMount("tmpfs", "/dev", options, attributes), (dev) => {
    // Not attached yet, and nobody else's: its paths are safe.
    const path = `/proc/self/fd/${dev}`;
    for (const [name, major, minor] of DEFAULT_NODES)
      makeNode(join(path, name), constants.S_IFCHR | 0o666, major, minor);
    for (const [name, target] of LINKS) symlinkAt(target, dev, name);
    for (const name of ["pts", "shm", "mqueue"]) mkdirAt(dev, name, 0o755);
    makeNodes(path, devices);
    withFd(openDirectory(rootFd, "dev"), (place) => attach(dev, place, "/dev"));
    mountPts(dev);
    mountSharedMemory(dev, sharedMemory);
  });
}

function mountPts(dev: number): void {
  // gid 5 is "tty" in every distribution.
  const options = [["newinstance"], ["ptmxmode", "0666"], ["mode", "0620"], ["gid", "5"]] as const;
  withFd(newMount("devpts", "/dev/pts", options, MOUNT_ATTR.NOSUID | MOUNT_ATTR.NOEXEC), (pts) =>
    withFd(openAt(dev, "pts", PLACE), (place) => attach(pts, place, "/dev/pts")),
  );
}

function mountSharedMemory(dev: number, sharedMemory: SharedMemory): void {
  const shm =
    sharedMemory.kind === "shared"
      ? copyIn(sharedMemory.root, sharedMemory.path, "/dev/shm")
      : newMount("tmpfs", "/dev/shm", shmOptions(sharedMemory.bytes), NO_PROGRAMS, "shm");
  withFd(shm, () => withFd(openAt(dev, "shm", PLACE), (place) => attach(shm, place, "/dev/shm")));
}

function shmOptions(bytes: number): readonly FsOption[] {
  return [
    ["mode", "1777"],
    ["size", `${bytes}`],
  ];
}

/** A tmpfs for shm_open(3), on a folder of the agent's own. */
export function mountShm(target: string, bytes: number): void {
  mountOn("shm", target, "tmpfs", MS.NOSUID | MS.NODEV | MS.NOEXEC, `mode=1777,size=${bytes}`);
}

/** /sys, read-only: PID 1 makes that of a privileged container writable. */
export function mountSys(rootFd: number, cgroup: string | undefined): void {
  withFd(newMount("sysfs", "/sys", [], MOUNT_ATTR.RDONLY | NO_PROGRAMS), (sys) => {
    withFd(openDirectory(rootFd, "sys"), (place) => attach(sys, place, "/sys"));
    if (cgroup === undefined) return;
    // Its own cgroup alone, as a cgroup namespace would show it.
    withFd(copyOf(cgroup, "/sys/fs/cgroup"), (own) => {
      setMountAttributes(own, { set: MOUNT_ATTR.RDONLY | NO_PROGRAMS });
      withFd(openAt(sys, "fs/cgroup", PLACE), (place) => attach(own, place, "/sys/fs/cgroup"));
    });
  });
}

/** The agent's files of /etc over the image's. */
export function mountEtc(base: string, rootFd: number, files: Record<string, string>): void {
  withFd(openDirectory(rootFd, "etc"), (etc) => {
    for (const [name, text] of Object.entries(files)) {
      const own = join(base, "etc", name);
      writeFileSync(own, text, { mode: 0o644 });
      withFd(copyOf(own, `/etc/${name}`), (file) =>
        withFd(openFile(etc, name), (place) => attach(file, place, `/etc/${name}`)),
      );
    }
  });
}

/** Opens the directory `name` of the root, made when missing. INVALID_ROOTFS when the image has something else there. */
export function openDirectory(rootFd: number, name: string): number {
  for (let tries = 0; tries < TRIES; tries++) {
    try {
      return openInRoot(rootFd, name, PLACE | constants.O_DIRECTORY, 0, { noSymlinks: true });
    } catch (error) {
      const errno = errnoOf(error) ?? "";
      if (["ENOTDIR", "ELOOP"].includes(errno)) throw invalidRoot(`/${name} is not a directory`);
      if (errno !== "ENOENT") throw error;
    }
    try {
      mkdirAt(rootFd, name, 0o755);
    } catch (error) {
      if (errnoOf(error) === "EROFS") throw invalidRoot(`/${name} is missing, and it is read-only`);
      if (errnoOf(error) !== "EEXIST") throw error;
    }
  }
  throw invalidRoot(`/${name} does not stay`);
}

/** Opens the file `name` of /etc, to mount on it; what is neither file nor directory is replaced by an empty file. */
function openFile(etc: number, name: string): number {
  for (let tries = 0; tries < TRIES; tries++) {
    const fd = openIfThere(etc, name);
    if (fd === undefined) {
      try {
        return openAt(etc, name, NEW_FILE, 0o644);
      } catch (error) {
        if (errnoOf(error) === "EEXIST") continue;
        throw error;
      }
    }
    const stat = fstatSync(fd);
    if (stat.isFile()) return fd;
    closeFd(fd);
    if (stat.isDirectory()) throw invalidRoot(`/etc/${name} is a directory`);
    try {
      unlinkAt(etc, name); // a link to where the image's own system would have put it
    } catch (error) {
      if (!["ENOENT", "EISDIR"].includes(errnoOf(error) ?? "")) throw error;
    }
  }
  throw invalidRoot(`/etc/${name} does not stay`);
}

function openIfThere(dir: number, name: string): number | undefined {
  try {
    return openAt(dir, name, PLACE);
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw error;
  }
}

/** A new file system, attached nowhere; `target` is for the error. */
function newMount(
  type: string,
  target: string,
  options: readonly FsOption[],
  attributes: number,
  source = type,
): number {
  try {
    return fsMount(type, options, attributes, source);
  } catch (error) {
    throw mountFailed(source, target, error);
  }
}

/** A bind mount of a path of the agent's own, attached nowhere. */
function copyOf(path: string, target: string): number {
  try {
    return openTree(path, { clone: true, noFollow: true });
  } catch (error) {
    throw mountFailed(path, target, error);
  }
}

/** The same, of a directory in a root in which any name may be a link. */
function copyIn(root: string, path: string, target: string): number {
  try {
    return withFd(openSync(root, O_PATH | constants.O_DIRECTORY), (rootFd) =>
      withFd(openInRoot(rootFd, path, PLACE | constants.O_DIRECTORY, 0, { noSymlinks: true }), (found) =>
        openTree("", { clone: true }, found),
      ),
    );
  } catch (error) {
    throw mountFailed(path, target, error);
  }
}

function attach(mount: number, place: number, target: string): void {
  try {
    moveMount(mount, place);
  } catch (error) {
    throw mountFailed("what was prepared", target, error);
  }
}

function invalidRoot(why: string): Error {
  return agentError("INVALID_ARGUMENT", "INVALID_ROOTFS", `the image cannot be a root: its ${why}`);
}
