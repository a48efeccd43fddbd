import { NetlinkSocket } from "@zone/native";
import { NETLINK_ROUTE, RTMGRP_LINK } from "./netlink/constants.js";

/**
 * Calls `look` until it gives something: at once, and after each change of a link that the kernel tells of. Undefined when `waitMs` have
 * passed. Rejects with what `look` throws, or the signal's reason.
 */
export async function waitForLinks<T>(
  look: () => Promise<T | undefined>,
  waitMs: number,
  signal: AbortSignal,
): Promise<T | undefined> {
  if (waitMs === 0) return look();
  // Before the first look, so that no change is missed between.
  const socket = NetlinkSocket.open(NETLINK_ROUTE, RTMGRP_LINK);
  let wake = () => {};
  let over = false;
  let failed: unknown;
  const end = () => {
    over = true;
    wake();
  };
  const timer = setTimeout(end, waitMs);
  signal.addEventListener("abort", end);
  let changed = false;
  const notify = () => {
    changed = true;
    wake();
  };
  socket.onMessage = notify;
  // Something was lost: the next look shows what it has become.
  socket.onOverrun = notify;
  socket.onError = (error) => {
    failed = error;
    end();
  };
  try {
    for (;;) {
      changed = false;
      const found = await look();
      if (found !== undefined) return found;
      if (!changed && !over) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
      if (failed !== undefined) throw failed;
      signal.throwIfAborted();
      if (over) return look();
    }
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", end);
    socket.close();
  }
}
