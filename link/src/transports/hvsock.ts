import type { Socket } from "node:net";
import type { ZoneError } from "@zone/proto";
import { cancelled, linkError } from "../errors.js";
import { type ConnectOptions, connectUnix, timedOut, unreachable } from "./unix.js";

/** "OK 4294967295\n" */
const MAX_LINE_BYTES = 14;

/**
 * Connects to a guest's vsock port through the VMM's Unix socket: `CONNECT PORT\n`, answered by `OK HOSTPORT\n`
 * (https://github.com/firecracker-microvm/firecracker/blob/main/docs/vsock.md; Cloud Hypervisor and vhost-device-vsock do the
 * same). The VMM closes the connection when nothing listens in the guest. Not a byte after the line is taken.
 */
export async function connectHvsock(path: string, port: number, options: ConnectOptions): Promise<Socket> {
  const start = performance.now();
  const socket = await connectUnix(path, options);
  socket.write(`CONNECT ${port}\n`);
  await readOk(socket, options, options.timeoutMs - (performance.now() - start));
  return socket;
}

function readOk(socket: Socket, { uri, timeoutMs, signal }: ConnectOptions, remainingMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    let line = "";
    const settle = (error?: ZoneError) => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
      socket.off("readable", onReadable);
      socket.off("error", onError);
      socket.off("end", onEnd);
      if (error) {
        socket.on("error", () => {});
        socket.destroy();
        reject(error);
      } else resolve();
    };
    const onReadable = () => {
      for (;;) {
        const byte: Buffer | null = socket.read(1);
        if (byte === null) return;
        line += byte.toString("latin1");
        if (line.endsWith("\n")) return settle(/^OK \d+\n$/.test(line) ? undefined : refused(uri, line));
        if (line.length >= MAX_LINE_BYTES) return settle(refused(uri, line));
      }
    };
    const onError = (error: Error) => settle(unreachable(uri, error));
    const onEnd = () => settle(refused(uri, line));
    const onAbort = () => settle(signal && cancelled(`connecting to ${uri}`, signal));
    const timer = setTimeout(() => settle(timedOut(uri, timeoutMs)), remainingMs);
    signal?.addEventListener("abort", onAbort, { once: true });
    socket.on("readable", onReadable);
    socket.once("error", onError);
    socket.once("end", onEnd);
    if (signal?.aborted) onAbort();
  });
}

function refused(uri: string, line: string): ZoneError {
  const why =
    line === ""
      ? "the VMM closed the connection: nothing listens on that port in the zone"
      : `it said ${JSON.stringify(line)}`;
  return linkError("UNAVAILABLE", "TRANSPORT_REFUSED", `cannot connect to ${uri}: ${why}`, uri);
}
