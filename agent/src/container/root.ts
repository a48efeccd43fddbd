import {
  chmodSync,
  chownSync,
  constants,
  lstatSync,
  mkdirSync,
  rmdirSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { MNT_DETACH, MS, makeNode, mount, unmount } from "@zone/native";
import { agentError, describe, errnoOf } from "../errors.js";
import { etcFiles, keepNames, type ZonePart } from "./etc-files.js";
import type { ContainerSpec } from "./request.js";

/**
 * A container's root and all that is mounted for it:
 *
 *     BASE            tmpfs: the writable layer's size is its size, and unmounting it takes all below with it
 *     BASE/lower      the image, read-only
 *     BASE/upper,work the writable layer
 *     BASE/rootfs     overlay of both, with /dev, /sys and files of /etc mounted in it
 *     BASE/etc        those files
 *
 * The overlay is there with `read_only` as well, so that mount points which the image lacks can be made; PID 1 then mounts the
 * root read-only. PID 1 also mounts /proc, in the container's own pid namespace. /dev/mqueue is left out: a queue belongs to
 * the ipc namespace of who mounts it, which here is the zone's.
 *
 * Nothing runs in the container yet, so the image cannot change a path between a check and its use: a mount point is checked
 * not to be a symbolic link, component by component, and then used by name.
 */
const NO_PROGRAMS = MS.NOSUID | MS.NODEV | MS.NOEXEC;
/** Room for our own files when nothing of the writable layer can be used. */
const READ_ONLY_BYTES = 1 << 20;

/** Builds BASE and everything in it; `zone` are the names that the zone adds. Leaves nothing when it fails. */
export function buildRoot(
  base: string,
  device: string,
  spec: ContainerSpec,
  cgroup: string | undefined,
  zone?: ZonePart,
): void {
  mkdirSync(base, { recursive: true });
  const bytes = spec.readOnly ? READ_ONLY_BYTES : spec.writableBytes;
  const size = bytes === undefined ? "" : `size=${bytes},`;
  try {
    mountOn("tmpfs", base, "tmpfs", MS.NOSUID, `${size}mode=0755`);
  } catch (error) {
    rmdirSync(base);
    throw error;
  }
  try {
    for (const name of ["lower", "upper", "work", "rootfs", "etc"]) mkdirSync(join(base, name));
    mountImage(base, device, spec);
    const rootfs = join(base, "rootfs");
    mkdirIn(rootfs, "proc");
    mountDev(rootfs);
    mountSys(rootfs, cgroup);
    keepNames(base, spec);
    mountEtc(base, rootfs, etcFiles(spec, zone));
  } catch (error) {
    destroyRoot(base);
    throw error;
  }
}

/** Unmounts BASE with everything in it, also when something is still open there. */
export function destroyRoot(base: string): void {
  try {
    unmount(base, MNT_DETACH);
  } catch (error) {
    if (!["EINVAL", "ENOENT"].includes(errnoOf(error) ?? "")) throw error;
  }
  try {
    rmdirSync(base);
  } catch (error) {
    if (errnoOf(error) !== "ENOENT") throw error;
  }
}

function mountImage(base: string, device: string, { fsType }: ContainerSpec): void {
  const [lower, upper] = [join(base, "lower"), join(base, "upper")];
  // Device nodes are of no use in an image: a container's are those of its /dev.
  mountOn(device, lower, fsType, MS.RDONLY | MS.NODEV, "");
  const { uid, gid, mode } = statSync(lower);
  chownSync(upper, uid, gid);
  chmodSync(upper, mode & 0o7777);
  const layers = `lowerdir=${lower},upperdir=${upper},workdir=${join(base, "work")}`;
  mountOn("overlay", join(base, "rootfs"), "overlay", MS.NODEV, layers);
}

/** Nodes that every container has, as the OCI runtime specification's "Default Devices". */
const NODES: [name: string, major: number, minor: number][] = [
  ["null", 1, 3],
  ["zero", 1, 5],
  ["full", 1, 7],
  ["random", 1, 8],
  ["urandom", 1, 9],
  ["tty", 5, 0],
];
const LINKS: [name: string, target: string][] = [
  ["fd", "/proc/self/fd"],
  ["stdin", "/proc/self/fd/0"],
  ["stdout", "/proc/self/fd/1"],
  ["stderr", "/proc/self/fd/2"],
  ["ptmx", "pts/ptmx"],
];

function mountDev(rootfs: string): void {
  const dev = mkdirIn(rootfs, "dev");
  mountOn("tmpfs", dev, "tmpfs", MS.NOSUID | MS.STRICTATIME, "size=64k,mode=0755");
  for (const [name, major, minor] of NODES) makeNode(join(dev, name), constants.S_IFCHR | 0o666, major, minor);
  for (const [name, target] of LINKS) symlinkSync(target, join(dev, name));
  for (const name of ["pts", "shm"]) mkdirSync(join(dev, name));
  // gid 5 is "tty" in every distribution.
  const pts = "newinstance,ptmxmode=0666,mode=0620,gid=5";
  mountOn("devpts", join(dev, "pts"), "devpts", MS.NOSUID | MS.NOEXEC, pts);
  mountOn("shm", join(dev, "shm"), "tmpfs", NO_PROGRAMS, "mode=1777,size=64m");
}

function mountSys(rootfs: string, cgroup: string | undefined): void {
  const sys = mkdirIn(rootfs, "sys");
  mountOn("sysfs", sys, "sysfs", MS.RDONLY | NO_PROGRAMS, "");
  if (cgroup === undefined) return;
  // Its own cgroup alone, as a cgroup namespace would show it.
  const target = join(sys, "fs/cgroup");
  mountOn(cgroup, target, "", MS.BIND, "");
  mountOn("", target, "", MS.BIND | MS.REMOUNT | MS.RDONLY | NO_PROGRAMS, "");
}

function mountEtc(base: string, rootfs: string, files: Record<string, string>): void {
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
function mkdirIn(rootfs: string, name: string): string {
  const path = join(rootfs, name);
  const there = lstatSync(path, { throwIfNoEntry: false });
  if (!there) mkdirSync(path, { mode: 0o755 });
  else if (!there.isDirectory()) throw invalidRoot(`/${name} is not a directory`);
  return path;
}

function invalidRoot(why: string): Error {
  return agentError("INVALID_ARGUMENT", "INVALID_ROOTFS", `the image cannot be a root: its ${why}`);
}

/** mount(2) with MOUNT_FAILED. */
function mountOn(source: string, target: string, type: string, flags: number, data: string): void {
  try {
    mount(source, target, type, flags, data);
  } catch (error) {
    throw agentError(
      "INTERNAL",
      "MOUNT_FAILED",
      `cannot mount ${source || type || "again"} on ${target}: ${describe(error)}`,
      {
        metadata: { source, target, errno: errnoOf(error) ?? "" },
        cause: error,
      },
    );
  }
}
