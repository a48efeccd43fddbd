import { type FileHandle, open, readdir, readlink } from "node:fs/promises";
import { bridgeError } from "../errors.js";
import { copySparse } from "./sparse-copy.js";

/** Of memory-backend-memfd: memfd_create(2) puts "/memfd:" before it. */
const MEMFD = "/memfd:memory-backend-memfd";

/**
 * Fills the memory of a VMM that has just started (it is all zeros) with a template's. Where other processes are to map a guest's
 * memory it cannot be copy-on-write over the template's file: their writes would not be seen. So it is QEMU's own file, and the
 * bridge, which can look into the VMM, copies into it what the template has.
 */
export async function copyMemory(templateFd: number, vmmPid: number, signal: AbortSignal): Promise<void> {
  const from = await open(`/proc/self/fd/${templateFd}`, "r");
  try {
    const to = await memoryOf(vmmPid);
    try {
      await copySparse(from, to, signal);
    } finally {
      await to.close();
    }
  } finally {
    await from.close();
  }
}

async function memoryOf(pid: number): Promise<FileHandle> {
  const directory = `/proc/${pid}/fd`;
  for (const fd of await readdir(directory)) {
    const target = await readlink(`${directory}/${fd}`).catch(() => "");
    if (target.startsWith(MEMFD)) return open(`${directory}/${fd}`, "r+");
  }
  throw bridgeError("INTERNAL", "TEMPLATE_UNUSABLE", "the VMM has no memory that can be copied into");
}
