import { fstatSync } from "node:fs";
import { Socket } from "node:net";
import { getSystemErrorName } from "node:util";
import { addon, POLL_READABLE, type PollHandle } from "./addon.js";
import { closeFd, dup, socketPair } from "./descriptors.js";

/** What is used of Node's PipeWrap: libuv's stream on any descriptor, not only on pipes. */
interface StreamHandle {
  open(fd: number): number;
}

interface StreamHandleConstructor {
  new (type: number): StreamHandle;
}

/** PipeConstants.SOCKET of Node's pipe_wrap. */
const SOCKET_TYPE = 0;
/** Bytes taken from a device per turn of the event loop. */
const DEVICE_READ_BYTES = 64 * 1024;
/** All device streams read into it, each within one synchronous step. */
let scratch: Buffer | undefined;
let streamHandle: StreamHandleConstructor | undefined;

export interface StreamMode {
  readable: boolean;
  writable: boolean;
}

/**
 * Any pollable descriptor (pipe, pty master, socket, virtio port) as a Duplex with back-pressure; it owns the descriptor from
 * now on, also when this throws. A pipe or socket is half-open: the end of one direction does not end the other. A device
 * (pty master, virtio port) ends in both directions at once: EOF, which for a pty master is EIO (all slaves are closed), is
 * followed by destroy(). Throws EPERM when the descriptor cannot be waited for (a file, /dev/null).
 */
export function streamFromFd(fd: number, mode: StreamMode): Socket {
  let handle: StreamHandle;
  let isDevice: boolean;
  try {
    addon().assertPollable(fd);
    isDevice = fstatSync(fd).isCharacterDevice();
    handle = openHandle(fd);
  } catch (error) {
    closeOwned(fd, error);
    throw error;
  }
  return isDevice
    ? new DeviceStream(handle, fd, mode)
    : new Socket(socketOptions(handle, { ...mode, allowHalfOpen: true }));
}

/** Closes a descriptor whose use has failed already: EBADF then says nothing new. */
function closeOwned(fd: number, cause: unknown): void {
  try {
    closeFd(fd);
  } catch (error) {
    if (!(cause instanceof Error && "code" in cause && cause.code === "EBADF")) throw error;
  }
}

function openHandle(fd: number): StreamHandle {
  streamHandle ??= findStreamHandle();
  const handle = new streamHandle(SOCKET_TYPE);
  const result = handle.open(fd);
  if (result === 0) return handle;
  const code = getSystemErrorName(result);
  throw Object.assign(new Error(`${code}: cannot open descriptor ${fd} as a stream`), {
    code,
    errno: result,
    syscall: "uv_pipe_open",
  });
}

/** Node exports its PipeWrap nowhere, but every net.Socket on a Unix socket holds one. */
function findStreamHandle(): StreamHandleConstructor {
  const [a, b] = socketPair();
  closeFd(b);
  const socket = new Socket({ fd: a, manualStart: true } as ConstructorParameters<typeof Socket>[0]);
  const handle = (socket as unknown as { _handle: { constructor: StreamHandleConstructor } })._handle;
  socket.destroy();
  return handle.constructor;
}

/** `handle` and `manualStart` are options of net.Socket that its types leave out. */
function socketOptions(
  handle: StreamHandle,
  options: StreamMode & { allowHalfOpen?: boolean; manualStart?: boolean },
): ConstructorParameters<typeof Socket>[0] {
  return { handle, ...options } as ConstructorParameters<typeof Socket>[0];
}

/**
 * A character device. Writes go through libuv as for any socket; reads are our own, because libuv takes a short read together
 * with POLLHUP for the end (unix/stream.c, uv__stream_io), while a tty gives at most 4 KiB per read and may hold more: the
 * last output of a process that has exited would be lost. It also makes fewer turns of the loop, 64 KiB instead of one
 * device buffer each.
 */
class DeviceStream extends Socket {
  /** libuv allows one watcher per descriptor number, and the handle for writing has `fd`. */
  readonly #pollFd: number;
  #poll: PollHandle | undefined;

  constructor(handle: StreamHandle, fd: number, mode: StreamMode) {
    super(socketOptions(handle, { ...mode, allowHalfOpen: true, manualStart: true }));
    this.#pollFd = dup(fd);
    this.once("end", () => this.destroy());
  }

  override _read(): void {
    this.#poll ??= addon().pollStart(this.#pollFd, POLL_READABLE, (error) =>
      error ? this.destroy(error) : this.#take(),
    );
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#stop();
    closeFd(this.#pollFd);
    super._destroy(error, callback);
  }

  #take(): void {
    scratch ??= Buffer.allocUnsafeSlow(DEVICE_READ_BYTES);
    let length: number;
    try {
      length = addon().readAvailable(this.#pollFd, scratch);
    } catch (error) {
      this.destroy(error instanceof Error ? error : new Error(String(error)));
      return;
    }
    if (length === 0) return;
    if (length < 0) {
      this.#stop();
      this.push(null);
    } else if (!this.push(Buffer.from(scratch.subarray(0, length)))) {
      this.#stop();
    }
  }

  #stop(): void {
    if (this.#poll) addon().pollStop(this.#poll);
    this.#poll = undefined;
  }
}
