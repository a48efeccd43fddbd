import { constants, openSync } from "node:fs";
import { closeFd, moveMount, openAt, PROPAGATION, setMountAttributes } from "@zone/native";
import { O_PATH, withFd } from "../descriptors.js";
import { agentError, describe, errnoOf } from "../errors.js";
import type { CheckedMount } from "./check-mount.js";
import { copyUp, isEmptyFolder } from "./copy-up.js";
import { invalidMount, mountExists, mountFailed } from "./mount-errors.js";
import type { MountRecord, MountRecords } from "./mount-records.js";
import { findMounted, isRootOf, type MountRoot, mountIdOf, unmountTree } from "./mounted.js";
import { readMountInfo } from "./mountinfo.js";
import { isDirectory, MadePlaces, openOrMake } from "./place.js";

export interface Attachment {
  root: MountRoot;
  records: MountRecords;
  record: Omit<MountRecord, "id">;
  /** Of the container's init, while it runs. */
  initPid(): number | undefined;
}

/**
 * Puts a detached mount on its target, exactly onto the folder or file that was found there, and makes sure that a container
 * which runs sees it. Owns `detached`; all or nothing. The order is: the target is found or made, copied from, the mount is
 * given its attributes, recorded, and attached.
 */
export async function attach(mount: CheckedMount, detached: number, to: Attachment): Promise<void> {
  const made = new MadePlaces();
  const record = { ...to.record, id: mountIdOf(detached) };
  let moved = false;
  try {
    const target = findTarget(mount, detached, to, made);
    try {
      if (mount.copyUp && isDirectory(detached)) await copyWhenEmpty(target, detached);
      setAttributes(detached, mount);
      to.records.add(record);
      moveMount(detached, target);
      moved = true;
      makeUnbindable(detached, mount);
    } finally {
      closeFd(target);
    }
    checkSeen(mount, record, to);
    made.keep();
  } catch (error) {
    // The descriptor would not keep a lazy unmount from happening, nor is it needed.
    if (moved) detachAgain(record, to.root);
    to.records.remove(record.id);
    made.remove();
    throw mountFailed(error, mount);
  } finally {
    closeFd(detached);
  }
}

function findTarget(mount: CheckedMount, detached: number, { root, records }: Attachment, made: MadePlaces): number {
  const directory = isDirectory(detached);
  if (!directory && root.containerId === "") throw invalidMount(mount, "a mount without container is a folder");
  const target = withFd(openSync(root.path, O_PATH | constants.O_DIRECTORY), (rootFd) => {
    try {
      return openOrMake(rootFd, mount.target, directory ? "directory" : "file", made);
    } catch (error) {
      throw targetError(error, mount);
    }
  });
  try {
    const taken = records.get(mountIdOf(target));
    const info = taken && readMountInfo("self").find(({ id }) => id === taken.id);
    if (taken && info && isRootOf(target, info)) {
      throw mountExists(mount.target, `is the same place as ${taken.target}, which has a mount: unmount it first`);
    }
    if (isDirectory(target) !== directory) {
      throw invalidMount(mount, directory ? "the target is not a folder" : "the source is a file, the target is none");
    }
    return target;
  } catch (error) {
    closeFd(target);
    throw error;
  }
}

function targetError(error: unknown, mount: CheckedMount): unknown {
  if (!["ENOENT", "ENOTDIR", "ELOOP", "EEXIST", "ENAMETOOLONG", "EACCES", "EPERM"].includes(errnoOf(error) ?? ""))
    return error;
  return agentError(
    "NOT_FOUND",
    "TARGET_NOT_FOUND",
    `${mount.target} is not there and cannot be made: ${describe(error)}`,
    {
      resource: { type: "mount", name: mount.target },
      cause: error,
    },
  );
}

async function copyWhenEmpty(target: number, detached: number): Promise<void> {
  const flags = constants.O_RDONLY | constants.O_DIRECTORY;
  const to = openAt(detached, ".", flags);
  try {
    if (!isEmptyFolder(to)) return;
    const from = openAt(target, ".", flags);
    try {
      await copyUp(from, to);
    } finally {
      closeFd(from);
    }
  } finally {
    closeFd(to);
  }
}

/**
 * What is bound is private unless asked otherwise: what is mounted later at the source does not come along. Onto a shared mount
 * (every container's root is one) it becomes shared again, with the container's own view alone: so that what is mounted in it
 * later arrives there.
 */
function setAttributes(detached: number, { type, options }: CheckedMount): void {
  const { attributes, recursiveAttributes } = options;
  if (recursiveAttributes.set !== 0 || recursiveAttributes.clear !== 0) {
    setMountAttributes(detached, { ...recursiveAttributes, recursive: true });
  }
  if (attributes.set !== 0 || attributes.clear !== 0) setMountAttributes(detached, attributes);
  const bound = type === "bind" || type === "files" ? { kind: PROPAGATION.PRIVATE, recursive: true } : undefined;
  const propagation = options.propagation ?? bound;
  if (propagation && propagation.kind !== PROPAGATION.UNBINDABLE) {
    setMountAttributes(detached, { propagation: propagation.kind, recursive: propagation.recursive });
  }
}

/** The kernel attaches nothing unbindable to a shared mount: so it is made that afterwards. */
function makeUnbindable(attached: number, { options }: CheckedMount): void {
  if (options.propagation?.kind !== PROPAGATION.UNBINDABLE) return;
  setMountAttributes(attached, { propagation: PROPAGATION.UNBINDABLE, recursive: options.propagation.recursive });
}

/** A container that runs sees the mount when one of its own is a peer or slave of ours; mount_namespaces(7). */
function checkSeen(mount: CheckedMount, record: MountRecord, { root, initPid }: Attachment): void {
  const pid = initPid();
  if (pid === undefined || mount.options.propagation?.kind === PROPAGATION.UNBINDABLE) return;
  const ours = findMounted(readMountInfo("self"), record.id, root);
  const group = ours?.propagation.find((text) => text.startsWith("shared:"))?.slice("shared:".length);
  const peers = new Set([`shared:${group}`, `master:${group}`]);
  try {
    if (
      group !== undefined &&
      readMountInfo(pid).some(({ propagation }) => propagation.some((text) => peers.has(text)))
    )
      return;
  } catch (error) {
    if (["ENOENT", "ESRCH"].includes(errnoOf(error) ?? "")) return; // it has ended meanwhile
    throw error;
  }
  throw agentError(
    "INTERNAL",
    "MOUNT_FAILED",
    `${mount.target} did not appear in the running container, and was unmounted`,
    {
      metadata: { source: mount.sourceText, target: mount.target, errno: "" },
    },
  );
}

function detachAgain(record: MountRecord, root: MountRoot): void {
  const infos = readMountInfo("self");
  const info = findMounted(infos, record.id, root);
  if (info) unmountTree(root, info, infos, { lazy: true, recursive: false });
}
