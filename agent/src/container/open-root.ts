import { closeSync, constants, fstatSync, openSync, statSync } from "node:fs";
import { O_PATH } from "../descriptors.js";
import { errnoOf } from "../errors.js";

/** An O_PATH descriptor of a container's root. The caller closes it. */
export interface OpenRoot {
  fd: number;
  close(): void;
}

/**
 * Opens a container's root: that of its init, with all that is mounted in the container, while it runs; else `rootfs`, the
 * root that the agent has prepared.
 *
 * A pid may be another process's by the time it is opened. So what /proc/PID/root has given is taken only when it is the very
 * folder that `rootfs` is: then it is this container's root, whoever's pid it is. An init that has changed its own root
 * (chroot(2), pivot_root(2)) shows another one, and `rootfs` is taken as well.
 */
export function openRoot(rootfs: string, initPid: number | undefined): OpenRoot {
  const fd = (initPid === undefined ? undefined : openRootOfProcess(rootfs, initPid)) ?? openFolder(rootfs);
  return { fd, close: () => closeSync(fd) };
}

function openRootOfProcess(rootfs: string, pid: number): number | undefined {
  let fd: number;
  try {
    fd = openFolder(`/proc/${pid}/root`);
  } catch (error) {
    // It has ended, and its container with it.
    if (["ENOENT", "ESRCH", "EACCES"].includes(errnoOf(error) ?? "")) return undefined;
    throw error;
  }
  const [found, expected] = [fstatSync(fd), statSync(rootfs)];
  if (found.dev === expected.dev && found.ino === expected.ino) return fd;
  closeSync(fd);
  return undefined;
}

function openFolder(path: string): number {
  return openSync(path, O_PATH | constants.O_DIRECTORY);
}
