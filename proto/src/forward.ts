import { readSync } from "node:fs";
import type { Socket } from "node:net";
import type { Readable } from "node:stream";
import type { ClientDuplexStream } from "@grpc/grpc-js";
import type { zone } from "../gen/messages.js";
import { ZoneError } from "./errors.js";

/** Most bytes of one `data` message: network.proto. */
export const FORWARD_CHUNK_BYTES = 256 * 1024;
/** Bytes read from the socket that the call has not taken yet; beyond it the socket is not read. */
const WINDOW_BYTES = 512 * 1024;
/** Time for a call that was given up to end by itself. */
const GIVE_UP_MS = 2000;

/** A client's end of zone.agent.v1.Network.Forward. */
export type ForwardCall = ClientDuplexStream<zone.agent.v1.ForwardRequest.$Properties, zone.agent.v1.ForwardResponse>;

/** What both directions of Forward have in common. */
export interface ForwardMessage {
  data?: Uint8Array | null;
  eof?: object | null;
}

/** What is used of a grpc-js call that streams both ways, at either of its ends. */
export interface MessageStream {
  readonly readableEnded: boolean;
  readonly readableLength: number;
  write(message: ForwardMessage, taken?: () => void): boolean;
  pause(): unknown;
  resume(): unknown;
  on(event: "data", listener: (message: ForwardMessage) => void): unknown;
  on(event: "error", listener: (error: Error) => void): unknown;
  on(event: "end" | "cancelled", listener: () => void): unknown;
}

export interface PumpOptions {
  /** What the socket's bytes are read from, when that is not the socket itself: another stream on the same connection. */
  reader?: Readable;
  /** Bytes in flight to the call before the socket is paused; asked for at each read. */
  windowBytes?: () => number;
  /** Looks at each message before it is used; what it throws ends the pump. */
  check?: (message: ForwardMessage) => void;
}

/**
 * Asks for a connection: sends `open`, and settles when the call has answered `opened`; the call is paused then, so that nothing is lost
 * before pumpForward. Rejects with the call's ZoneError.
 */
export function openForward(call: ForwardCall, open: zone.agent.v1.ForwardOpen.$Properties): Promise<void> {
  return new Promise((resolve, reject) => {
    const leave = () => {
      call.removeListener("data", onData);
      call.removeListener("end", onEnd);
    };
    const onData = (message: zone.agent.v1.ForwardResponse) => {
      leave();
      call.pause();
      if (message.opened) return resolve();
      call.cancel();
      reject(protocolError("the first message of a Forward was not `opened`"));
    };
    const onEnd = () => {
      leave();
      reject(protocolError("a Forward has ended without `opened`"));
    };
    call.on("data", onData);
    call.on("end", onEnd);
    // Stays: a call that fails after it has been given up must not be an uncaught error. It comes before "end".
    call.on("error", (error) => {
      leave();
      reject(ZoneError.from(error));
    });
    call.write({ open });
  });
}

/**
 * Moves bytes between a socket (made with `allowHalfOpen`) and a Forward call that has been opened, each direction to its own end, no
 * faster than the other side takes them. Settles when both have ended. Rejects with the call's ZoneError, with the socket's error, or
 * with CONNECTION_RESET when it was closed early; the call is then given up and the socket reset, so that neither side takes a
 * broken connection for a complete one.
 */
export async function pumpForward(socket: Socket, call: ForwardCall): Promise<void> {
  try {
    await pumpMessages(socket, call, { ended: () => call.end() });
  } catch (error) {
    giveUpForward(call);
    throw error;
  }
}

/**
 * Gives up a Forward call: ends its messages without an `eof`, and cancels it when that is not answered. Not at once: nghttp2 ends
 * the whole session of a client that resets too many streams (1000, and then 33 a second), with every other call on it.
 */
export function giveUpForward(call: ForwardCall): void {
  call.resume();
  // What is still to be written would come first, when it ever does.
  if (call.writableLength > 0) call.cancel();
  if (call.readableEnded) return;
  call.end();
  const timer = setTimeout(() => call.cancel(), GIVE_UP_MS);
  call.once("status", () => clearTimeout(timer));
}

/**
 * The pump of both ends of a Forward. `ended` is called when `eof` has been sent. The caller ends the call when this has settled.
 *
 *     socket "data" -> {data}    "end" -> {eof}                       reading
 *     {data} -> socket.write     {eof} -> socket.end, "finish"        writing
 */
export function pumpMessages(
  socket: Socket,
  call: MessageStream,
  options: PumpOptions & { ended?: () => void } = {},
): Promise<void> {
  const { reader = socket, windowBytes = () => WINDOW_BYTES, check = () => {}, ended = () => {} } = options;
  return new Promise((resolve, reject) => {
    let inFlight = 0;
    let sentEof = false;
    let receivedEof = false;
    let over = false;
    /** The error that writing to the socket has failed with: what can still be read is passed on before it is told. */
    let writeFailed: unknown;
    let callFailed: unknown;

    const finish = (error?: unknown) => {
      if (over) return;
      over = true;
      if (error === undefined) socket.destroy();
      else if (receivedEof) socket.destroy();
      else resetSocket(socket);
      if (reader !== socket) reader.destroy();
      call.resume(); // what still comes must not hold up the call's end
      if (error === undefined) resolve();
      else reject(error);
    };
    /** After what has been written: a reset would take it back. */
    const fail = (error: unknown) => {
      const end = () => finish(error);
      if (socket.destroyed || socket.writableLength === 0) end();
      else if (socket.writableEnded) socket.once("finish", end);
      else socket.write(NOTHING, end);
    };
    const settleWhenBothEnded = () => {
      if (!sentEof) return;
      if (writeFailed !== undefined) finish(writeFailed);
      else if (socket.writableFinished) finish();
    };
    const lost = (error: unknown) => {
      if (reader === socket || sentEof) finish(error);
      else writeFailed ??= error;
    };

    reader.on("data", (chunk: Buffer) => {
      if (over) return;
      for (let at = 0; at < chunk.length; at += FORWARD_CHUNK_BYTES) {
        const data = chunk.length <= FORWARD_CHUNK_BYTES ? chunk : chunk.subarray(at, at + FORWARD_CHUNK_BYTES);
        inFlight += data.length;
        call.write({ data } satisfies ForwardMessage, () => {
          inFlight -= data.length;
          if (!over && reader.isPaused() && inFlight < windowBytes()) reader.resume();
        });
      }
      if (inFlight >= windowBytes()) reader.pause();
    });
    reader.on("end", () => {
      if (over) return;
      const broken = resetBehindEnd(reader);
      if (broken !== undefined) {
        finish(broken);
        return;
      }
      sentEof = true;
      call.write({ eof: {} } satisfies ForwardMessage);
      ended();
      settleWhenBothEnded();
    });
    reader.on("error", finish);
    reader.on("close", () => {
      if (!sentEof) finish(closedEarly());
    });
    socket.on("finish", settleWhenBothEnded);
    if (reader !== socket) socket.on("error", lost);
    socket.on("close", () => {
      if (!socket.writableFinished) lost(closedEarly());
    });

    call.on("data", (message: ForwardMessage) => {
      if (over) return;
      try {
        check(message);
      } catch (error) {
        finish(error);
        return;
      }
      if (message.data && message.data.length > 0 && !receivedEof && socket.writable) {
        if (!socket.write(message.data)) {
          call.pause();
          socket.once("drain", () => call.resume());
        }
      } else if (message.eof && !receivedEof) {
        receivedEof = true;
        socket.end();
      }
    });
    call.on("end", () => {
      if (callFailed !== undefined) fail(callFailed);
      else if (!receivedEof) finish(gaveUp());
    });
    // A client's call: its error may come before the last messages have been read.
    call.on("error", (error) => {
      callFailed = ZoneError.from(error);
      if (call.readableEnded) fail(callFailed);
      else if (call.readableLength === 0) fail(callFailed);
    });
    // A server's call.
    call.on("cancelled", () => finish(new ZoneError({ code: "CANCELLED", reason: "CANCELLED", message: "cancelled" })));
    reader.resume();
    call.resume();
  });
}

const NOTHING = new Uint8Array(0);

/** Closes a socket so that its peer finds a reset connection where TCP has one, and a closed one on a Unix socket. */
export function resetSocket(socket: Socket): void {
  // Node knows only of TCP how to reset; elsewhere the peer is told by its unread bytes. Its resetAndDestroy() ends the socket
  // first, and a peer that has found an end is told of no reset; what it does after that is this.
  // A reset is not possible while the end is still under way, uv_tcp_close_reset().
  const isEnding = socket.writableEnded && !socket.writableFinished;
  if (!socket.destroyed) Object.assign(socket, { resetAndClosing: isTcp(socket) && !isEnding });
  socket.destroy();
}

/**
 * The error of a connection that was reset though its stream has ended: libuv takes a short read together with POLLHUP for the end
 * (unix/stream.c, uv__stream_io) and leaves the error in the socket. A connection that has really ended reads as ended again.
 */
function resetBehindEnd(reader: Readable): unknown {
  const fd = (reader as { _handle?: { fd?: unknown } | null })._handle?.fd;
  if (typeof fd !== "number" || fd < 0) return undefined;
  try {
    readSync(fd, new Uint8Array(1));
    return undefined;
  } catch (error) {
    return error;
  }
}

function isTcp(socket: Socket): boolean {
  const handle = (socket as { _handle?: { reset?: unknown } })._handle;
  return typeof handle?.reset === "function";
}

function closedEarly(): ZoneError {
  return new ZoneError({
    code: "UNAVAILABLE",
    reason: "CONNECTION_RESET",
    message: "the connection was closed before its end",
  });
}

function gaveUp(): ZoneError {
  return new ZoneError({ code: "CANCELLED", reason: "CANCELLED", message: "the other side ended without an eof" });
}

function protocolError(message: string): ZoneError {
  return new ZoneError({ code: "INTERNAL", reason: "UNEXPECTED_MESSAGE", message });
}
