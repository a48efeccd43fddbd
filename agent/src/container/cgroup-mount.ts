import { constants, openSync } from "node:fs";
import {
  MNT_DETACH,
  MOUNT_ATTR,
  moveMount,
  openAt,
  openInRoot,
  openTree,
  setMountAttributes,
  unmountFd,
} from "@zone/native";
import { O_PATH, withFd } from "../descriptors.js";
import { mountFailed } from "./mount-on.js";

const PLACE = O_PATH | constants.O_NOFOLLOW | constants.O_DIRECTORY;
const ATTRIBUTES = MOUNT_ATTR.RDONLY | MOUNT_ATTR.NOSUID | MOUNT_ATTR.NODEV | MOUNT_ATTR.NOEXEC;

/**
 * Has /sys/fs/cgroup of a container in which nothing runs show `cgroup`, in place of one that was removed: of that nothing can
 * be started any more. As in root-mounts.ts no link is followed. MOUNT_FAILED.
 */
export function remountCgroup(rootfs: string, cgroup: string): void {
  try {
    withFd(openSync(rootfs, PLACE), (root) =>
      withFd(openInRoot(root, "sys", PLACE, 0, { noSymlinks: true }), (sys) => {
        withFd(openAt(sys, "fs/cgroup", PLACE), (removed) => unmountFd(removed, MNT_DETACH));
        withFd(openTree(cgroup, { clone: true, noFollow: true }), (own) => {
          setMountAttributes(own, { set: ATTRIBUTES });
          withFd(openAt(sys, "fs/cgroup", PLACE), (place) => moveMount(own, place));
        });
      }),
    );
  } catch (error) {
    throw mountFailed(cgroup, "/sys/fs/cgroup", error);
  }
}
