import { constants, fstatSync, openSync } from "node:fs";
import { closeFd, openInRoot, openPty, openPtySlave } from "@zone/native";
import type { OpenRoot } from "../container/open-root.js";
import { O_PATH } from "../descriptors.js";
import { errnoOf } from "../errors.js";
import type { WindowSize } from "./spec.js";
import type { Pty } from "./stdio.js";

const PTMX = "dev/pts/ptmx";
/** makedev(5, 2), of pts(4). */
const PTMX_DEVICE = (5 << 8) | 2;

/**
 * A tty for a process of a container: of the devpts that is mounted in the container, so that it has a name there and ttyname(3)
 * finds it. Where there is none, or something else (the container's root may put there what it likes), it is of the zone's devpts,
 * and works without a name. Closes `root`, the container's.
 */
export function openContainerPty(root: OpenRoot, size: WindowSize): Pty {
  try {
    return openPtyBelow(root.fd, size);
  } catch (error) {
    // The container's doing, or its devpts is full; what is wrong with the zone fails here as well.
    if (errnoOf(error) === undefined) throw error;
    return openPty(size.rows, size.columns);
  } finally {
    root.close();
  }
}

function openPtyBelow(root: number, { rows, columns }: WindowSize): Pty {
  const master = openPtmx(root);
  try {
    return { master, slave: openPtySlave(master, rows, columns) };
  } catch (error) {
    closeFd(master);
    throw error;
  }
}

/** Opens the ptmx, found without following any link, once it is known to be one: to open another device may do things. */
function openPtmx(root: number): number {
  const found = openInRoot(root, PTMX, O_PATH | constants.O_NOFOLLOW, 0, { noSymlinks: true });
  try {
    const stat = fstatSync(found);
    if (!stat.isCharacterDevice() || stat.rdev !== PTMX_DEVICE) throw noPtmx();
    // By the descriptor: the very file that was looked at. The kernel makes the terminal in the devpts that the file is of.
    return openSync(`/proc/self/fd/${found}`, constants.O_RDWR | constants.O_NOCTTY);
  } finally {
    closeFd(found);
  }
}

function noPtmx(): Error {
  return Object.assign(new Error(`/${PTMX} is no pseudo-terminal multiplexer`), { code: "ENODEV" });
}
