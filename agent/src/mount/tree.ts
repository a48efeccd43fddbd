import { constants, fstatSync, readdirSync } from "node:fs";
import { closeFd, openAt, unlinkAt } from "@zone/native";
import { O_PATH, withFd } from "../descriptors.js";
import { errnoOf } from "../errors.js";

const FOLDER = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;

/** The names in a folder, which are bytes; `folder` is any descriptor of it. */
export function namesIn(folder: number): Buffer[] {
  return readdirSync(`/proc/self/fd/${folder}`, { encoding: "buffer" });
}

/** Removes whatever `name` is, with all below; nothing is followed, and nothing is there is well. */
export function removeTree(parent: number, name: string | Buffer): void {
  let fd: number;
  try {
    fd = openAt(parent, name, O_PATH | constants.O_NOFOLLOW);
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return;
    throw error;
  }
  const directory = withFd(fd, () => fstatSync(fd).isDirectory());
  if (directory) {
    const folder = openAt(parent, name, FOLDER);
    try {
      for (const below of namesIn(folder)) removeTree(folder, below);
    } finally {
      closeFd(folder);
    }
  }
  unlinkAt(parent, name, { directory });
}
