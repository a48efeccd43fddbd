import { once } from "node:events";
import type * as grpc from "@grpc/grpc-js";
import { ZoneError } from "@zone/proto";
import type { Logger } from "pino";
import { sendable } from "../errors.js";

/** Sends a message of a stream; settles when the next one may follow. Rejects when the client has gone. */
export type Send<Response> = (message: Response) => Promise<void>;

/** Progress that a client has not read; what is beyond is left out. */
const MAX_WAITING_PROGRESS = 8;

/** A unary method from a function: what it throws becomes the call's status. `signal` aborts when the client has gone. */
export function unaryCall<Request, Response>(
  log: Logger,
  handle: (request: Request, signal: AbortSignal) => Promise<Response>,
): grpc.handleUnaryCall<Request, Response> {
  return (call, callback) => {
    handle(call.request, goneSignal(call)).then(
      (response) => callback(null, response),
      (thrown) => callback(statusOf(thrown, call.getPath(), log)),
    );
  };
}

/** A server-streaming method from a function. `sendProgress` never waits: what a slow client has no room for is left out. */
export function streamCall<Request, Response>(
  log: Logger,
  handle: (
    request: Request,
    send: Send<Response>,
    signal: AbortSignal,
    sendProgress: (message: Response) => void,
  ) => Promise<void>,
): grpc.handleServerStreamingCall<Request, Response> {
  return (call) => {
    const signal = goneSignal(call);
    const send: Send<Response> = async (message) => {
      signal.throwIfAborted();
      if (!call.write(message)) await once(call, "drain", { signal }).catch(() => signal.throwIfAborted());
    };
    const sendProgress = (message: Response) => {
      if (!signal.aborted && call.writableLength < MAX_WAITING_PROGRESS) call.write(message);
    };
    handle(call.request, send, signal, sendProgress).then(
      () => call.end(),
      (thrown) => call.emit("error", Object.assign(new Error(), statusOf(thrown, call.getPath(), log))),
    );
  };
}

/** Aborts when the client cancels, goes away, or its deadline is over. */
function goneSignal(
  call: grpc.ServerUnaryCall<unknown, unknown> | grpc.ServerWritableStream<unknown, unknown>,
): AbortSignal {
  const gone = new AbortController();
  const abort = () =>
    gone.abort(
      new ZoneError({ code: "CANCELLED", reason: "CANCELLED", domain: "zone.bridge", message: "the client has gone" }),
    );
  if (call.cancelled) abort();
  else call.once("cancelled", abort);
  return gone.signal;
}

function statusOf(thrown: unknown, method: string, log: Logger): grpc.StatusObject {
  const error = ZoneError.from(thrown);
  if (error.code === "INTERNAL") log.error({ err: thrown, method }, "a call failed in a way that it should not");
  else log.debug({ method, code: error.code, reason: error.reason, message: error.message }, "a call failed");
  return sendable(error.toStatus());
}
