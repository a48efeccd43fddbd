import { chmodSync, chownSync, closeSync, constants, mkdirSync, openSync, rmdirSync, statSync } from "node:fs";
import { join } from "node:path";
import {
  closeFd,
  MNT_DETACH,
  MOUNT_ATTR,
  MS,
  moveMount,
  openTree,
  PROPAGATION,
  setMountAttributes,
  unmount,
} from "@zone/native";
import { O_PATH, withFd } from "../descriptors.js";
import { errnoOf } from "../errors.js";
import type { DeviceNode } from "./devices.js";
import { etcFiles, keepNames, type ZonePart } from "./etc-files.js";
import { mountFailed, mountOn } from "./mount-on.js";
import type { ContainerSpec } from "./request.js";
import { mountDev, mountEtc, mountSys, openDirectory, type SharedMemory } from "./root-mounts.js";

/**
 * A container's root and all that is mounted for it:
 *
 *     BASE            tmpfs: the writable layer's size is its size, and unmounting it takes all below with it
 *     BASE/lower      the image, or what the zone has mounted elsewhere, read-only
 *     BASE/upper,work the writable layer
 *     BASE/rootfs     overlay of both, with /dev, /sys and files of /etc mounted in it; or the source itself; or a folder
 *     BASE/etc        those files
 *
 * The overlay is there with `read_only` as well, so that mount points which the image lacks can be made; PID 1 then mounts the
 * root read-only. PID 1 also mounts /proc and /dev/mqueue, which show the namespaces of who mounts them. Of a container of an
 * OCI bundle only the layers and the files of /etc are made here; crun mounts the rest.
 *
 * BASE/rootfs is a shared mount, and what a container sees is a slave of it: what is mounted here later appears there, and not
 * the reverse.
 *
 * Nothing runs in the container yet, but what its root is made of may be a folder that another container writes to: a place in
 * BASE/rootfs is used by descriptor only, see root-mounts.ts. Names in BASE itself are nobody else's.
 */
export interface RootPlan {
  spec: ContainerSpec;
  /** The disk's device node; or a descriptor of the folder that is the source; undefined for an empty root. */
  source:
    | { kind: "disk"; device: string; fsType: string }
    | { kind: "folder"; fd: number; direct: boolean }
    | undefined;
  /** Its folder in cgroupfs, if it has one. */
  cgroup: string | undefined;
  /** What the zone adds to its names. */
  names: ZonePart | undefined;
  devices: readonly DeviceNode[];
  sharedMemory: SharedMemory;
  /** Bytes that the agent's own files of the container may need beside the writable layer. */
  ownBytes: number;
}

/** Room for our own files when nothing of the writable layer can be used. */
const READ_ONLY_BYTES = 1 << 20;

/** Builds all that is in the folder `base`. destroyRoot() undoes it, also when this has thrown. */
export function buildRoot(base: string, plan: RootPlan): void {
  mountOn("tmpfs", base, "tmpfs", MS.NOSUID, `${sizeOption(plan)}mode=0755`);
  for (const name of ["lower", "upper", "work", "rootfs", "etc"]) mkdirSync(join(base, name));
  const { spec } = plan;
  const rootfs = join(base, "rootfs");
  mountLayers(base, plan);
  keepNames(base, spec);
  withFd(openSync(rootfs, O_PATH | constants.O_DIRECTORY), (rootFd) => {
    closeFd(openDirectory(rootFd, "proc"));
    if (spec.kind.name === "own") {
      mountDev(rootFd, plan.devices, plan.sharedMemory);
      mountSys(rootFd, plan.cgroup);
    }
    mountEtc(base, rootFd, etcFiles(spec, plan.names));
  });
  mountOn("", rootfs, "", MS.SHARED | MS.REC, "");
}

/** Without a limit it is tmpfs's own: half of the zone's memory. An empty root is in the writable layer, and to be filled. */
function sizeOption({ spec, source, ownBytes }: RootPlan): string {
  const { readOnly, writableBytes } = spec.root;
  const unwritten = readOnly && source !== undefined;
  const bytes = unwritten ? READ_ONLY_BYTES : writableBytes;
  return bytes === undefined ? "" : `size=${bytes + ownBytes},`;
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

function mountLayers(base: string, { source }: RootPlan): void {
  const rootfs = join(base, "rootfs");
  if (source === undefined) {
    bindFolder(rootfs, undefined, rootfs);
    return;
  }
  if (source.kind === "folder" && source.direct) {
    bindFolder("", source.fd, rootfs);
    return;
  }
  const [lower, upper] = [join(base, "lower"), join(base, "upper")];
  // Device nodes are of no use in an image: a container's are those of its /dev.
  if (source.kind === "disk") mountOn(source.device, lower, source.fsType, MS.RDONLY | MS.NODEV, "");
  else bindFolder("", source.fd, lower);
  const { uid, gid, mode } = statSync(lower);
  chownSync(upper, uid, gid);
  chmodSync(upper, mode & 0o7777);
  const layers = `lowerdir=${lower},upperdir=${upper},workdir=${join(base, "work")}`;
  mountOn("overlay", rootfs, "overlay", MS.NODEV, layers);
}

/** Binds a folder, by its path or (with an empty path) its descriptor, to `target`: without devices. */
function bindFolder(path: string, fd: number | undefined, target: string): void {
  try {
    const tree = openTree(path, { clone: true, recursive: true }, fd);
    try {
      setMountAttributes(tree, { set: MOUNT_ATTR.NODEV });
      // A shared source would have /dev and all else mounted in it as well, where others see it.
      setMountAttributes(tree, { propagation: PROPAGATION.PRIVATE, recursive: true });
      const targetFd = openSync(target, constants.O_RDONLY | constants.O_DIRECTORY);
      try {
        moveMount(tree, targetFd);
      } finally {
        closeSync(targetFd);
      }
    } finally {
      closeFd(tree);
    }
  } catch (error) {
    throw mountFailed(path || "the source", target, error);
  }
}
