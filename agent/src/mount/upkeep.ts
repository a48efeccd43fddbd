import { constants, fstatSync, openSync, readFileSync } from "node:fs";
import { statfs } from "node:fs/promises";
import {
  closeFd,
  freezeFsAsync,
  growXfsAsync,
  openAt,
  resizeExt4Async,
  thawFs,
  thawFsAsync,
  trimFsAsync,
} from "@zone/native";
import { withFd } from "../descriptors.js";
import { agentError, describe, errnoOf, invalid } from "../errors.js";
import { markFrozen, unmarkFrozen } from "./frozen.js";
import { MOUNT_LIMITS } from "./limits.js";
import type { FoundMount, MountTable } from "./mount-table.js";
import { openMounted } from "./mounted.js";
import { isDirectory } from "./place.js";

const SECTOR_BYTES = 512n;

export interface FileSystemStats {
  totalBytes: number;
  availableBytes: number;
  usedBytes: number;
  totalInodes: number;
  freeInodes: number;
  type: string;
  readOnly: boolean;
}

/**
 * What is done to a whole file system, by a mount of it: freeze, thaw, trim, resize, and its numbers. All but a thaw at the
 * agent's start run on other threads.
 *
 * A freeze ends with Thaw, after MOUNT_LIMITS.freezeMs, or when the agent ends: its successor thaws what it finds frozen, for nobody
 * else would. While a file system is frozen nobody can write to it, the agent included: it refuses to unmount it.
 */
export class MountUpkeep {
  readonly #mounts: MountTable;
  /** By device; the descriptor is for the thaw, whatever becomes of the mount's place. */
  readonly #frozen = new Map<string, { timer: NodeJS.Timeout; fd: number; mountId: number; dev: bigint }>();
  readonly #trouble: (message: string) => void;

  /** `trouble` is told when a freeze that has run out, or that an earlier agent has left, cannot be undone. */
  constructor(mounts: MountTable, trouble: (message: string) => void) {
    this.#mounts = mounts;
    this.#trouble = trouble;
  }

  /** Thaws what an earlier agent has left frozen. After the table's recovery. */
  recover(): void {
    const { records } = this.#mounts;
    for (const id of records.frozen) {
      const record = records.get(id);
      if (!record) continue;
      try {
        this.#thawLeft(this.#mounts.find(record.containerId, record.target));
        records.setFrozen(id, false);
      } catch (error) {
        this.#trouble(`cannot thaw ${record.target}, which an earlier agent has frozen: ${describe(error)}`);
      }
    }
  }

  #thawLeft(found: FoundMount): void {
    withFd(openToUse(found), (fd) => {
      try {
        thawFs(fd);
      } catch (error) {
        if (errnoOf(error) !== "EINVAL") throw error; // it was not frozen
      }
    });
  }

  /** MOUNT_BUSY when it is frozen already, FS_UNSUPPORTED when it cannot be. */
  async freeze(containerId: string, target: string): Promise<void> {
    const found = this.#mounts.find(containerId, target);
    const { device, id: mountId } = found.info;
    const fd = openToUse(found);
    // Before it is frozen: an agent that ends now must leave word.
    this.#mounts.records.setFrozen(mountId, true);
    const { dev } = fstatSync(fd, { bigint: true });
    markFrozen(dev);
    try {
      await freezeFsAsync(fd);
    } catch (error) {
      unmarkFrozen(dev);
      if (this.#frozen.get(device)?.mountId !== mountId) this.#mounts.records.setFrozen(mountId, false);
      closeFd(fd);
      throw failed(error, "freeze", found);
    }
    const timer = setTimeout(() => {
      this.#thawDevice(device).catch((error) => this.#trouble(`cannot thaw ${target}: ${describe(error)}`));
    }, MOUNT_LIMITS.freezeMs);
    timer.unref();
    this.#frozen.set(device, { timer, fd, mountId, dev });
  }

  /** Well when it is not frozen: a thaw may come after the time was up. */
  async thaw(containerId: string, target: string): Promise<void> {
    const found = this.#mounts.find(containerId, target);
    try {
      if (await this.#thawDevice(found.info.device)) return;
      // Frozen by somebody else in the zone, perhaps.
      await this.#withOpen(found, thawFsAsync);
    } catch (error) {
      if (errnoOf(error) !== "EINVAL") throw failed(error, "thaw", found);
    }
  }

  /** The bytes that were given back. */
  async trim(containerId: string, target: string, minimumBytes: number): Promise<number> {
    const found = this.#mounts.find(containerId, target);
    try {
      return await this.#withOpen(found, (fd) => trimFsAsync(fd, minimumBytes));
    } catch (error) {
      // ext4 and xfs say so of a minimum that no extent of theirs can have, and of nothing else that is asked for here.
      if (errnoOf(error) === "EINVAL" && minimumBytes > 0)
        throw invalid("INVALID_MOUNT", `cannot trim ${target}: no extent has minimum_bytes, ${minimumBytes}`);
      throw failed(error, "trim", found);
    }
  }

  async stats(containerId: string, target: string): Promise<FileSystemStats> {
    const { info, root } = this.#mounts.find(containerId, target);
    const fd = openMounted(root, info);
    try {
      const { blocks, bfree, bavail, bsize, files, ffree } = await statfs(`/proc/self/fd/${fd}`);
      return {
        totalBytes: blocks * bsize,
        availableBytes: bavail * bsize,
        usedBytes: (blocks - bfree) * bsize,
        totalInodes: files,
        freeInodes: ffree,
        type: info.type,
        readOnly: info.options.includes("ro") || info.fsOptions.includes("ro"),
      };
    } finally {
      closeFd(fd);
    }
  }

  /** Grows the file system to its device's size; what it has then. FS_UNSUPPORTED but for ext4 and xfs. */
  async resize(containerId: string, target: string): Promise<number> {
    const found = this.#mounts.find(containerId, target);
    const { type, device } = found.info;
    const grow = { ext4: resizeExt4Async, xfs: growXfsAsync }[type];
    if (!grow) {
      const message = `${target} is of type ${type}: only ext4 and xfs can be made larger while they are mounted`;
      throw agentError("FAILED_PRECONDITION", "FS_UNSUPPORTED", message, { resource: { type: "mount", name: target } });
    }
    try {
      await this.#withOpen(found, async (fd) => {
        const { bsize } = await statfs(`/proc/self/fd/${fd}`, { bigint: true });
        await grow(fd, deviceBytes(device) / bsize);
      });
    } catch (error) {
      throw failed(error, "resize", found);
    }
    return (await this.stats(containerId, target)).totalBytes;
  }

  async #thawDevice(device: string): Promise<boolean> {
    const frozen = this.#frozen.get(device);
    if (!frozen) return false;
    this.#frozen.delete(device);
    clearTimeout(frozen.timer);
    try {
      await thawFsAsync(frozen.fd);
    } finally {
      unmarkFrozen(frozen.dev);
      closeFd(frozen.fd);
      this.#mounts.records.setFrozen(frozen.mountId, false);
    }
    return true;
  }

  async #withOpen<T>(found: FoundMount, use: (fd: number) => Promise<T>): Promise<T> {
    const fd = openToUse(found);
    try {
      return await use(fd);
    } finally {
      closeFd(fd);
    }
  }
}

/** A descriptor of the mount's root that ioctl(2) takes. */
function openToUse({ root, info }: FoundMount): number {
  return withFd(openMounted(root, info), (fd) => {
    if (isDirectory(fd)) return openAt(fd, ".", constants.O_RDONLY | constants.O_DIRECTORY);
    return openSync(`/proc/self/fd/${fd}`, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  });
}

/** Of a block device, "MAJOR:MINOR". sysfs counts in sectors of 512 bytes, whatever the disk's are. */
function deviceBytes(device: string): bigint {
  return BigInt(readFileSync(`/sys/dev/block/${device}/size`, "latin1").trim()) * SECTOR_BYTES;
}

function failed(error: unknown, verb: string, { record: { target }, info: { type, source } }: FoundMount): Error {
  const errno = errnoOf(error);
  const what = `cannot ${verb} ${target} (${type}): ${describe(error)}`;
  const more = { resource: { type: "mount", name: target }, cause: error };
  if (["EOPNOTSUPP", "ENOTTY", "ENOSYS"].includes(errno ?? "")) {
    return agentError("FAILED_PRECONDITION", "FS_UNSUPPORTED", what, more);
  }
  if (errno === "EBUSY") return agentError("FAILED_PRECONDITION", "MOUNT_BUSY", what, more);
  if (errno === "EROFS") return agentError("FAILED_PRECONDITION", "READ_ONLY_FS", what, more);
  return agentError("INTERNAL", "MOUNT_FAILED", what, { ...more, metadata: { source, target, errno: errno ?? "" } });
}
