import type { MountError } from "@zone/native";
import { ZoneError } from "@zone/proto";
import { agentError, describe, errnoOf, invalid } from "../errors.js";
import type { CheckedMount } from "./check-mount.js";

/** The kernel's own words about a mount that it refused. */
export function kernelLog(error: unknown): readonly string[] {
  const log = error instanceof Error ? (error as Partial<MountError>).kernelLog : undefined;
  return Array.isArray(log) ? log : [];
}

/** The reason for what the kernel said to a mount; a ZoneError stays what it is. */
export function mountFailed(error: unknown, { type, sourceText, target }: CheckedMount): ZoneError {
  if (error instanceof ZoneError) return error;
  const errno = errnoOf(error);
  const what = `cannot mount ${sourceText} (${type}) on ${target}`;
  const more = {
    resource: { type: "mount", name: target },
    metadata: { source: sourceText, target, errno: errno ?? "" },
    cause: error,
  };
  const words = describe(error);
  switch (errno) {
    case "ENODEV":
      return agentError(
        "FAILED_PRECONDITION",
        "FS_UNSUPPORTED",
        `${what}: this kernel has no file system ${type}`,
        more,
      );
    case "EOPNOTSUPP":
      return agentError("FAILED_PRECONDITION", "FS_UNSUPPORTED", `${what}: ${words}`, more);
    case "EINVAL":
      return new ZoneError({
        ...more,
        code: "INVALID_ARGUMENT",
        reason: "INVALID_MOUNT",
        message: `${what}: ${words}`,
        domain: "zone.agent",
      });
    case "EROFS":
      return agentError("FAILED_PRECONDITION", "READ_ONLY_FS", `${what}: ${words}`, more);
    case "EACCES":
      // The block layer's answer when a disk that can only be read is to be written: get_tree_bdev().
      if (["ext4", "xfs"].includes(type)) {
        const hint = `the disk can only be read; mount it with the option "ro"`;
        return agentError("FAILED_PRECONDITION", "READ_ONLY_FS", `${what}: ${hint}`, more);
      }
      break;
    case "EBUSY":
      return agentError("FAILED_PRECONDITION", "MOUNT_BUSY", `${what}: its source or target is in use: ${words}`, more);
    case "ENOSPC":
      if (!isMountCall(error)) break; // a full disk
      return agentError(
        "RESOURCE_EXHAUSTED",
        "TOO_MANY_MOUNTS",
        `${what}: the kernel takes no more mounts: ${words}`,
        more,
      );
  }
  return agentError("INTERNAL", "MOUNT_FAILED", `${what}: ${words}`, more);
}

/** These say ENOSPC when there are fs.mount-max mounts; proc_sys_fs(5). */
function isMountCall(error: unknown): boolean {
  return (
    error instanceof Error &&
    "syscall" in error &&
    ["move_mount", "open_tree", "fsmount"].includes(String(error.syscall))
  );
}

/** INVALID_MOUNT about one mount. */
export function invalidMount(mount: CheckedMount, why: string): ZoneError {
  return invalid("INVALID_MOUNT", `cannot mount ${mount.sourceText} (${mount.type}) on ${mount.target}: ${why}`);
}

export function mountUnknown(containerId: string, target: string): ZoneError {
  const where = containerId === "" ? "the zone" : `container "${containerId}"`;
  return agentError(
    "NOT_FOUND",
    "MOUNT_UNKNOWN",
    `nothing that the agent has mounted is on ${target.slice(0, 200)} in ${where}`,
    {
      resource: { type: "mount", name: target.slice(0, 200) },
    },
  );
}

export function mountExists(target: string, why: string): ZoneError {
  return agentError("ALREADY_EXISTS", "MOUNT_EXISTS", `${target} ${why}`, {
    resource: { type: "mount", name: target },
  });
}

export function sourceNotFound(source: string): ZoneError {
  return agentError("NOT_FOUND", "SOURCE_NOT_FOUND", `there is no ${source} to mount`, {
    resource: { type: "mount", name: source },
  });
}
