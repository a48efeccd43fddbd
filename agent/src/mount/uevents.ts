import { NETLINK, NetlinkSocket } from "@zone/native";

/** The kernel's own group; 2 is udev's. */
const KERNEL_GROUP = 1;

/** What the kernel says of a device: "add" and the like, and KEY=VALUE pairs. */
export interface Uevent {
  action: string;
  devicePath: string;
  variables: ReadonlyMap<string, string>;
}

/** Parses a kernel's uevent: "ACTION@DEVPATH" and KEY=VALUE, each ended by a NUL; kobject_uevent_env(). Undefined for anything else. */
export function parseUevent(datagram: Uint8Array): Uevent | undefined {
  const [head = "", ...pairs] = Buffer.from(datagram).toString("utf8").split("\0");
  const at = head.indexOf("@");
  if (at <= 0) return undefined;
  const variables = new Map<string, string>();
  for (const pair of pairs) {
    const equals = pair.indexOf("=");
    if (equals > 0) variables.set(pair.slice(0, equals), pair.slice(equals + 1));
  }
  return { action: head.slice(0, at), devicePath: head.slice(at + 1), variables };
}

const POLL_MIN_MS = 2;
const POLL_MAX_MS = 50;

/**
 * Looks until it finds, at once and then after each event of `subsystem`; undefined after `waitMs`. The socket is open before
 * the first look, so no device can come between. Where the kernel gives no such socket (or `events` is false: a test's folder
 * stands for sysfs), it looks again and again. Rejects with what `look` throws, and when `signal` is aborted.
 */
export async function lookUntilFound<T>(
  look: () => T | undefined,
  { waitMs, subsystem, events, signal }: { waitMs: number; subsystem: string; events: boolean; signal?: AbortSignal },
): Promise<T | undefined> {
  const socket = events ? openSocket() : undefined;
  let timer: NodeJS.Timeout | undefined;
  try {
    const deadline = performance.now() + waitMs;
    for (let pause = POLL_MIN_MS; ; pause = Math.min(pause * 2, POLL_MAX_MS)) {
      const happened = socket && nextEvent(socket, subsystem);
      const found = look();
      if (found !== undefined) return found;
      signal?.throwIfAborted();
      const left = deadline - performance.now();
      if (left <= 0) return undefined;
      const over = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, happened ? left : Math.min(left, pause));
        signal?.addEventListener("abort", () => resolve(), { once: true });
      });
      await (happened ? Promise.race([happened, over]) : over);
      clearTimeout(timer);
    }
  } finally {
    clearTimeout(timer);
    socket?.close();
  }
}

function openSocket(): NetlinkSocket | undefined {
  try {
    return NetlinkSocket.open(NETLINK.KOBJECT_UEVENT, KERNEL_GROUP);
  } catch {
    return undefined; // a kernel or a network namespace without uevents: it is polled then
  }
}

/** Settles with the next event of a subsystem, or when some were lost, or the socket failed. */
function nextEvent(socket: NetlinkSocket, subsystem: string): Promise<void> {
  return new Promise((resolve) => {
    socket.onMessage = (datagram) => {
      if (parseUevent(datagram)?.variables.get("SUBSYSTEM") === subsystem) resolve();
    };
    socket.onOverrun = resolve;
    socket.onError = () => resolve();
  });
}
