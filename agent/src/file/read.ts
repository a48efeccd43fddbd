import { closeFd, openInRoot } from "@zone/native";
import { O_PATH, withFd } from "../descriptors.js";
import { O_RDONLY, openRegular, readAt } from "./descriptors.js";
import { FILE_LIMITS } from "./limits.js";

/** Where a stream of bytes goes: settles when the receiver has room for more. */
export type Send = (data: Uint8Array) => Promise<void>;

/**
 * Sends a regular file from `offset`: `length` bytes, or all when it is undefined, or less when the file ends. Reads the next
 * chunk while the last one is being sent; two are in memory.
 */
export async function readFile(
  root: number,
  path: string,
  offset: number,
  length: number | undefined,
  send: Send,
): Promise<void> {
  const fd = withFd(openInRoot(root, path, O_PATH), (found) => openRegular(found, O_RDONLY, path));
  try {
    const end = length === undefined ? Number.MAX_SAFE_INTEGER : Math.min(offset + length, Number.MAX_SAFE_INTEGER);
    const buffers = [Buffer.allocUnsafeSlow(FILE_LIMITS.chunkBytes), Buffer.allocUnsafeSlow(FILE_LIMITS.chunkBytes)];
    let sent: Promise<void> | undefined;
    for (let at = offset, turn = 0; at < end; turn ^= 1) {
      const buffer = buffers[turn] as Buffer;
      const bytes = await readAt(fd, buffer, 0, Math.min(buffer.length, end - at), at);
      await sent;
      sent = undefined;
      if (bytes === 0) break;
      at += bytes;
      sent = send(buffer.subarray(0, bytes));
      sent.catch(() => {}); // it is awaited above or below, unless reading fails first
    }
    await sent;
  } finally {
    closeFd(fd);
  }
}
