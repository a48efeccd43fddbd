import { constants, lstatSync, mkdirSync, symlinkSync, unlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { MS, makeNode } from "@zone/native";
import { agentError, errnoOf } from "../errors.js";
import { DEFAULT_NODES, type DeviceNode, makeNodes } from "./devices.js";
import { mountOn } from "./mount-on.js";

const NO_PROGRAMS = MS.NOSUID | MS.NODEV | MS.NOEXEC;

/** Of /dev/shm: its own of a size, or the folder of who shares its ipc namespace. */
export type SharedMemory = { kind: "own"; bytes: number } | { kind: "shared"; path: string };

const LINKS: readonly [name: string, target: string][] = [
  ["fd", "/proc/self/fd"],
  ["stdin", "/proc/self/fd/0"],
  ["stdout", "/proc/self/fd/1"],
  ["stderr", "/proc/self/fd/2"],
  ["ptmx", "pts/ptmx"],
];

/** /dev with its nodes, and /dev/pts, /dev/shm, and a place for PID 1 to mount /dev/mqueue at. */
export function mountDev(rootfs: string, devices: readonly DeviceNode[], sharedMemory: SharedMemory): void {
  const dev = mkdirIn(rootfs, "dev");
  mountOn("tmpfs", dev, "tmpfs", MS.NOSUID | MS.STRICTATIME, "size=64k,mode=0755");
  for (const [name, major, minor] of DEFAULT_NODES) makeNode(join(dev, name), constants.S_IFCHR | 0o666, major, minor);
  for (const [name, target] of LINKS) symlinkSync(target, join(dev, name));
  for (const name of ["pts", "shm", "mqueue"]) mkdirSync(join(dev, name));
  makeNodes(dev, devices);
  // gid 5 is "tty" in every distribution.
  const pts = "newinstance,ptmxmode=0666,mode=0620,gid=5";
  mountOn("devpts", join(dev, "pts"), "devpts", MS.NOSUID | MS.NOEXEC, pts);
  if (sharedMemory.kind === "shared") mountOn(sharedMemory.path, join(dev, "shm"), "", MS.BIND, "");
  else mountShm(join(dev, "shm"), sharedMemory.bytes);
}

/** A tmpfs for shm_open(3). */
export function mountShm(target: string, bytes: number): void {
  mountOn("shm", target, "tmpfs", NO_PROGRAMS, `mode=1777,size=${bytes}`);
}

/** /sys, read-only: PID 1 makes that of a privileged container writable. */
export function mountSys(rootfs: string, cgroup: string | undefined): void {
  const sys = mkdirIn(rootfs, "sys");
  mountOn("sysfs", sys, "sysfs", MS.RDONLY | NO_PROGRAMS, "");
  if (cgroup === undefined) return;
  // Its own cgroup alone, as a cgroup namespace would show it.
  const target = join(sys, "fs/cgroup");
  mountOn(cgroup, target, "", MS.BIND, "");
  mountOn("", target, "", MS.BIND | MS.REMOUNT | MS.RDONLY | NO_PROGRAMS, "");
}

/** The agent's files of /etc over the image's. */
export function mountEtc(base: string, rootfs: string, files: Record<string, string>): void {
  const etc = mkdirIn(rootfs, "etc");
  for (const [name, text] of Object.entries(files)) {
    const own = join(base, "etc", name);
    const target = join(etc, name);
    writeFileSync(own, text, { mode: 0o644 });
    const there = lstatSync(target, { throwIfNoEntry: false });
    if (there && !there.isFile()) {
      if (there.isDirectory()) throw invalidRoot(`/etc/${name} is a directory`);
      unlinkSync(target); // a link to where the image's own system would have put it
    }
    if (!there?.isFile()) writeFileSync(target, "", { flag: "wx", mode: 0o644 });
    mountOn(own, target, "", MS.BIND, "");
  }
}

/** The directory `name` of the root, made when missing. INVALID_ROOTFS when the image has something else there. */
export function mkdirIn(rootfs: string, name: string): string {
  const path = join(rootfs, name);
  const there = lstatSync(path, { throwIfNoEntry: false });
  if (there?.isDirectory()) return path;
  if (there) throw invalidRoot(`/${name} is not a directory`);
  try {
    mkdirSync(path, { mode: 0o755 });
  } catch (error) {
    if (errnoOf(error) === "EROFS") throw invalidRoot(`/${name} is missing, and it is read-only`);
    throw error;
  }
  return path;
}

function invalidRoot(why: string): Error {
  return agentError("INVALID_ARGUMENT", "INVALID_ROOTFS", `the image cannot be a root: its ${why}`);
}
