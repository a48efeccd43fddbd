import type * as grpc from "@grpc/grpc-js";
import { type Code, ZoneError } from "@zone/proto";

/** An error as the bridge makes it. */
export function failure(code: Code, reason: string, message: string): ZoneError {
  return new ZoneError({ code, reason, message, domain: "zone.bridge" });
}

/** A unary handler that notes its call, from an async function. */
export function unary<Q, R>(
  calls: string[],
  name: string,
  handle: (request: Q, call: grpc.ServerUnaryCall<Q, R>) => Promise<R>,
): grpc.handleUnaryCall<Q, R> {
  return (call, callback) => {
    calls.push(name);
    handle(call.request, call).then(
      (response) => callback(null, response),
      (thrown) => callback(ZoneError.from(thrown).toStatus()),
    );
  };
}

/** A streaming handler that notes its call; the stream ends when the function has. */
export function streaming<Q, R>(
  calls: string[],
  name: string,
  handle: (call: grpc.ServerWritableStream<Q, R>) => Promise<void>,
): grpc.handleServerStreamingCall<Q, R> {
  return (call) => {
    calls.push(name);
    handle(call).then(
      () => call.end(),
      (thrown) => call.emit("error", ZoneError.from(thrown).toStatus()),
    );
  };
}
