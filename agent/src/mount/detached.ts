import { constants, mkdirSync, mkdtempSync, openSync, rmdirSync } from "node:fs";
import { basename, join } from "node:path";
import { closeFd, type FsOption, fsMount, MNT_DETACH, MOUNT_ATTR, moveMount, openTree, unmountAt } from "@zone/native";
import { O_PATH, withFd } from "../descriptors.js";
import { agentError, errnoOf } from "../errors.js";
import { ensureFileSystem } from "../system/modules.js";
import { type BlockPaths, findBlockDevice } from "./block-device.js";
import type { CheckedMount, Place } from "./check-mount.js";
import { kernelLog, mountFailed } from "./mount-errors.js";
import { MadePlaces, openOrMake } from "./place.js";
import { lookUntilFound } from "./uevents.js";

/** Where the parts of a mount come from. */
export interface MountParts extends BlockPaths {
  /** A folder of the agent's own, for mounts that nobody is to see yet. */
  stage: string;
  /** An O_PATH descriptor of a place, which the caller closes. SOURCE_NOT_FOUND. */
  openPlace(place: Place): number;
}

/**
 * Makes what is to be mounted, attached nowhere yet: its descriptor, for moveMount(). Closing it undoes it. Waits for the disk
 * or tag first, up to `waitMs`. Type "files" is not of these. The reasons of mount.proto; rejects when `signal` is aborted.
 */
export async function makeDetached(mount: CheckedMount, parts: MountParts, signal?: AbortSignal): Promise<number> {
  try {
    if (mount.type === "bind") return bindPlace(mount, parts);
    if (!ensureFileSystem(mount.type)) {
      throw agentError("FAILED_PRECONDITION", "FS_UNSUPPORTED", `this zone's kernel has no file system ${mount.type}`);
    }
    const whole = await mountFs(mount, parts, signal);
    return mount.subdirectory === "" ? whole : withFd(whole, (fd) => partOf(fd, mount, parts.stage));
  } catch (error) {
    throw mountFailed(error, mount);
  }
}

async function mountFs(mount: CheckedMount, parts: MountParts, signal?: AbortSignal): Promise<number> {
  const { source, options } = mount;
  switch (source.kind) {
    case "disk":
      return mountDisk(mount, await findBlockDevice(source.serial, mount.waitMs, parts, signal));
    case "tag":
      return mountTag(mount, source.tag, signal);
    case "text":
      if (mount.layers) return mountOverlay(mount, parts);
      return fsMount(mount.type, options.fs, 0, source.text);
    case "place":
      throw new Error(`a mount of type ${mount.type} has no place as its source`);
  }
}

function bindPlace(mount: CheckedMount, parts: MountParts): number {
  if (mount.source.kind !== "place") throw new Error("a bind mount has a place as its source");
  const { recursive } = mount.options;
  return withFd(parts.openPlace(mount.source.place), (place) => {
    if (mount.subdirectory === "") return openTree("", { recursive }, place);
    return openPart(place, mount.subdirectory, recursive);
  });
}

/**
 * A disk's file system is made read-only with "ro", not only its mount: the disk may be one that cannot be written. When it is
 * mounted writable elsewhere already, the kernel says EBUSY, and only the mount is read-only.
 */
function mountDisk({ type, options, copyUp }: CheckedMount, device: string): number {
  // These two are always read-only; the kernel still wants to be told, or it asks the disk whether it can be written.
  if (type === "erofs" || type === "squashfs") return fsMount(type, [["ro"], ...options.fs], 0, device);
  const readOnly = (options.attributes.set & MOUNT_ATTR.RDONLY) !== 0 && !copyUp;
  if (!readOnly) return fsMount(type, options.fs, 0, device);
  try {
    return fsMount(type, [["ro"], ...options.fs], 0, device);
  } catch (error) {
    if (errnoOf(error) !== "EBUSY") throw error;
    return fsMount(type, options.fs, 0, device);
  }
}

/** virtio-9p: without these the kernel would take another transport, and an old dialect. */
const NINE_P: readonly FsOption[] = [
  ["trans", "virtio"],
  ["version", "9p2000.L"],
];

/** The kernel has no list of tags that are there: a mount is tried again when a virtio device has come. */
async function mountTag(mount: CheckedMount, tag: string, signal?: AbortSignal): Promise<number> {
  const { type, waitMs, options } = mount;
  const given = new Set(options.fs.map(([key]) => key));
  const fs = type === "9p" ? [...NINE_P.filter(([key]) => !given.has(key)), ...options.fs] : options.fs;
  const look = () => {
    try {
      return fsMount(type, fs, 0, tag);
    } catch (error) {
      if (isMissingTag(error)) return undefined;
      throw error;
    }
  };
  const found = await lookUntilFound(look, {
    waitMs,
    subsystem: "virtio",
    events: true,
    ...(signal ? { signal } : {}),
  });
  if (found !== undefined) return found;
  throw agentError(
    "NOT_FOUND",
    "DEVICE_NOT_FOUND",
    `no ${type} share with tag "${tag}" has appeared within ${waitMs} ms`,
    {
      resource: { type: "share", name: tag },
    },
  );
}

/** EINVAL of virtiofs, ENOENT of 9p, without a word in the context's log: an option that is wrong has one. */
function isMissingTag(error: unknown): boolean {
  return ["EINVAL", "ENOENT"].includes(errnoOf(error) ?? "") && kernelLog(error).length === 0;
}

/** The layers go to the kernel as descriptors, by their names in /proc: a path could be changed by whoever can write there. */
function mountOverlay({ layers, options, sourceText }: CheckedMount, { openPlace }: MountParts): number {
  const fds: number[] = [];
  const open = (place: Place) => {
    const fd = openPlace(place);
    fds.push(fd);
    return `/proc/self/fd/${fd}`;
  };
  try {
    const fs: FsOption[] = [...options.fs, ["lowerdir", (layers?.lower ?? []).map(open).join(":")]];
    if (layers?.upper) fs.push(["upperdir", open(layers.upper)]);
    if (layers?.work) fs.push(["workdir", open(layers.work)]);
    return fsMount("overlay", fs, 0, sourceText);
  } finally {
    for (const fd of fds) closeFd(fd);
  }
}

/**
 * A detached copy of a folder of a detached mount. The kernel copies only what is attached (before Linux 6.15): so it is for a
 * moment, where only the agent looks.
 */
function partOf(whole: number, { subdirectory }: CheckedMount, stage: string): number {
  mkdirSync(stage, { recursive: true });
  const place = mkdtempSync(join(stage, "part-"));
  const parent = openSync(stage, O_PATH | constants.O_DIRECTORY);
  try {
    withFd(openSync(place, O_PATH | constants.O_DIRECTORY), (target) => moveMount(whole, target));
    try {
      return openPart(whole, subdirectory, false);
    } finally {
      unmountAt(parent, basename(place), MNT_DETACH);
    }
  } finally {
    closeFd(parent);
    rmdirSync(place);
  }
}

function openPart(rootFd: number, subdirectory: string, recursive: boolean): number {
  const made = new MadePlaces();
  try {
    const part = withFd(openOrMake(rootFd, subdirectory, "directory", made), (fd) => openTree("", { recursive }, fd));
    made.keep();
    return part;
  } catch (error) {
    made.remove();
    throw error;
  }
}
