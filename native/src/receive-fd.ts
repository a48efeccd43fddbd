import { addon, POLL_READABLE, type PollHandle } from "./addon.js";
import { closeFd, dup } from "./descriptors.js";

/** The text that may come with a descriptor: crun and runc send the path of a terminal. */
const MESSAGE_BYTES = 4096;

/**
 * The descriptor, close-on-exec, that the next message on a connected Unix socket brings, and the bytes that came with it. Of
 * a net.Socket give socketFd(), and accept it with `pauseOnConnect`, so that Node does not read it first. Rejects with
 * ECONNRESET when the peer closes first, EPROTO when the message brings none or several (they are closed), and with the
 * signal's reason. unix(7) SCM_RIGHTS.
 */
export function receiveFd(
  socketFd: number,
  options: { signal?: AbortSignal } = {},
): Promise<{ fd: number; data: Buffer }> {
  const { signal } = options;
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    // libuv has one watcher per descriptor number, and the socket may have its own.
    const fd = dup(socketFd);
    let poll: PollHandle;
    const finish = () => {
      signal?.removeEventListener("abort", onAbort);
      addon().pollStop(poll);
      closeFd(fd);
    };
    const onAbort = () => {
      finish();
      reject(signal?.reason);
    };
    const onReadable = (error: Error | undefined) => {
      try {
        if (error) throw error;
        const received = takeOne(fd);
        if (!received) return;
        finish();
        resolve(received);
      } catch (failure) {
        finish();
        reject(failure);
      }
    };
    try {
      poll = addon().pollStart(fd, POLL_READABLE, onReadable);
    } catch (error) {
      closeFd(fd);
      throw error;
    }
    signal?.addEventListener("abort", onAbort, { once: true });
  });
}

function takeOne(socket: number): { fd: number; data: Buffer } | undefined {
  const buffer = Buffer.alloc(MESSAGE_BYTES);
  const packet = addon().receivePacket(socket, buffer);
  if (!packet) return undefined;
  const [fd, ...more] = packet.fds;
  if (fd !== undefined && more.length === 0) return { fd, data: buffer.subarray(0, packet.length) };
  for (const each of packet.fds) closeFd(each);
  if (packet.length === 0) throw protocolError("ECONNRESET", -104, "the peer closed before it sent a descriptor");
  throw protocolError("EPROTO", -71, `the message brought ${packet.fds.length} descriptors instead of one`);
}

function protocolError(code: string, errno: number, text: string): Error {
  return Object.assign(new Error(`${code}: ${text}, recvmsg`), { code, errno, syscall: "recvmsg" });
}
