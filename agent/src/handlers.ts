import type * as grpc from "@grpc/grpc-js";
import { ZoneError } from "@zone/proto";

/**
 * The two wrappers through which every RPC of the agent goes: the one place where an error becomes a gRPC status.
 * Anything thrown or rejected is answered with ZoneError.from(it).toStatus().
 */

/** A unary method from a function of its request. `signal` is aborted when the client cancels or its link is lost. */
export function unaryHandler<Request, Response>(
  answer: (request: Request, signal: AbortSignal) => Response | Promise<Response>,
): grpc.handleUnaryCall<Request, Response> {
  return (call, callback) => {
    const cancelled = new AbortController();
    call.once("cancelled", () => cancelled.abort());
    // An async function, so that what is thrown at once is rejected as well.
    (async () => answer(call.request, cancelled.signal))().then(
      (response) => callback(null, response),
      (error: unknown) => callback(ZoneError.from(error).toStatus()),
    );
  };
}

/** Makes unary methods that ask `admit` first, which throws when the zone takes no work yet. */
export function admittedBy(admit: () => void) {
  return <Request, Response>(answer: (request: Request, signal: AbortSignal) => Response | Promise<Response>) =>
    unaryHandler((request: Request, signal) => {
      admit();
      return answer(request, signal);
    });
}

/** A method that takes a stream and answers once. `serve` may answer before the stream has ended. */
export function uploadHandler<Request, Response>(
  serve: (call: grpc.ServerReadableStream<Request, Response>) => Promise<Response>,
): grpc.handleClientStreamingCall<Request, Response> {
  return (call, callback) => {
    call.on("error", () => {}); // a client that is gone; who reads the stream is told as well
    (async () => serve(call))().then(
      (response) => callback(null, response),
      (error: unknown) => callback(ZoneError.from(error).toStatus()),
    );
  };
}

/** A stream that can end with an error, of either kind of streaming call. */
interface FailingStream {
  emit(event: "error", error: unknown): boolean;
  end(): unknown;
}

/** A streaming method: `serve` works on the call, which ends with OK when it settles, or with the error that it throws. */
export function streamHandler<Call extends FailingStream>(
  serve: (call: Call) => Promise<void> | void,
): (call: Call) => void {
  return (call) => {
    (async () => serve(call))().then(
      () => call.end(),
      // grpc-js sends the status of an emitted error after what has been written before it.
      (error: unknown) => call.emit("error", ZoneError.from(error).toStatus()),
    );
  };
}
