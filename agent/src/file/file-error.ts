import { fstatSync } from "node:fs";
import { type Code, ZoneError } from "@zone/proto";
import { agentError, describe, errnoOf } from "../errors.js";
import { isFrozen } from "../mount/frozen.js";

/** What failed system calls are to a client; file.proto lists the reasons. */
const REASONS: Record<string, [code: Code, reason: string, why: string]> = {
  ENOENT: ["NOT_FOUND", "FILE_NOT_FOUND", "there is no such file or directory"],
  EEXIST: ["ALREADY_EXISTS", "FILE_EXISTS", "it is there already"],
  EACCES: ["PERMISSION_DENIED", "FILE_DENIED", "the zone's kernel does not allow it"],
  EPERM: ["PERMISSION_DENIED", "FILE_DENIED", "the zone's kernel does not allow it"],
  ENOTDIR: ["FAILED_PRECONDITION", "NOT_A_DIRECTORY", "it, or a part of its path, is not a directory"],
  EISDIR: ["FAILED_PRECONDITION", "IS_A_DIRECTORY", "it is a directory"],
  ENOTEMPTY: ["FAILED_PRECONDITION", "DIRECTORY_NOT_EMPTY", "the directory is not empty"],
  ENXIO: ["FAILED_PRECONDITION", "NOT_A_FILE", "it is a device, pipe or socket"],
  EROFS: ["FAILED_PRECONDITION", "READ_ONLY_FS", "its file system is read-only"],
  ELOOP: [
    "FAILED_PRECONDITION",
    "TOO_MANY_LINKS",
    "too many symbolic links lead to it, or one that the kernel makes up",
  ],
  EXDEV: ["FAILED_PRECONDITION", "CROSS_DEVICE", "it is on another file system"],
  ENOSPC: ["RESOURCE_EXHAUSTED", "NO_SPACE", "its file system is full"],
  EDQUOT: ["RESOURCE_EXHAUSTED", "NO_SPACE", "a quota of its file system is used up"],
  ENAMETOOLONG: ["INVALID_ARGUMENT", "INVALID_PATH", "a name in it is too long"],
  EFBIG: ["INVALID_ARGUMENT", "INVALID_SIZE", "its file system has no files that large"],
};

/** The error about `path` that the failed system call `thrown` is; a ZoneError comes back as it is. */
export function fileError(thrown: unknown, path: string): ZoneError {
  if (thrown instanceof ZoneError) return thrown;
  const errno = errnoOf(thrown);
  const [code, reason, why] = REASONS[errno ?? ""] ?? ["INTERNAL", "FILE_FAILED", describe(thrown)];
  return failure(code, reason, path, why, errno, thrown);
}

/** The error that `errno` would be, for what we find out ourselves. */
export function fileErrno(errno: keyof typeof REASONS & string, path: string, why?: string): ZoneError {
  const [code, reason, usual] = REASONS[errno] ?? ["INTERNAL", "FILE_FAILED", errno];
  return failure(code, reason, path, why ?? usual, errno);
}

function failure(code: Code, reason: string, path: string, why: string, errno?: string, cause?: unknown): ZoneError {
  return agentError(code, reason, `${shownPath(path)}: ${why}`, {
    resource: { type: "file", name: path },
    metadata: { path, ...(errno !== undefined && { errno }) },
    cause,
  });
}

/**
 * MOUNT_FROZEN for a change on a file system that Mount.Freeze holds frozen: right before it, for the change itself would block
 * the agent until the thaw. `fd` is the directory or file that is changed.
 */
export function requireThawed(fd: number, path = ""): void {
  if (!isFrozen(() => fstatSync(fd, { bigint: true }).dev)) return;
  const message = `${path === "" ? "it" : shownPath(path)}: its file system is frozen: nothing there can be changed before Mount.Thaw`;
  throw agentError("FAILED_PRECONDITION", "MOUNT_FROZEN", message, {
    ...(path !== "" && { resource: { type: "file", name: path } }),
    metadata: { path },
  });
}

/** A path for a message: quoted, printable. */
export function shownPath(path: string): string {
  return JSON.stringify(path).replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, "?");
}
