import { closeSync, constants, fstatSync, readFileSync } from "node:fs";
import { openInRoot } from "@zone/native";
import { errnoOf } from "./errors.js";

/** Errnos that say that a root has no such file. */
const ABSENT = new Set(["ENOENT", "ENOTDIR", "ELOOP"]);

/**
 * Reads a small file of an untrusted root; "" when it has none. The path and its links are resolved inside the root.
 * Throws when it is no regular file or larger than `maxBytes`.
 */
export function readInRoot(rootFd: number, path: string, maxBytes: number): string {
  let fd: number;
  try {
    // O_NONBLOCK: a FIFO in its place must not hang the agent.
    fd = openInRoot(rootFd, path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  } catch (error) {
    if (ABSENT.has(errnoOf(error) ?? "")) return "";
    throw error;
  }
  try {
    const { size, mode } = fstatSync(fd);
    if ((mode & constants.S_IFMT) !== constants.S_IFREG) throw new Error(`${path} is not a regular file`);
    if (size > maxBytes) throw new Error(`${path} has ${size} bytes; at most ${maxBytes} are read`);
    return size === 0 ? "" : readFileSync(fd, "utf8");
  } finally {
    closeSync(fd);
  }
}
