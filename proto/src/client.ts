import * as grpc from "@grpc/grpc-js";
import { ZoneError } from "./errors.js";
import type { Method, Service } from "./rpc.js";

/** Options of one call. */
export interface CallOptions {
  /** Milliseconds until DEADLINE_EXCEEDED; none by default. */
  timeoutMs?: number;
  /** Cancels the call. */
  signal?: AbortSignal;
  /** Metadata to send, such as `{ "zone-id": "web" }`. */
  metadata?: Record<string, string>;
}

/** The client's end of a client-streaming call: its requests, and what it is answered when they have ended. */
export interface ClientStream<Request, Response> {
  requests: grpc.ClientWritableStream<Request>;
  /** Rejects with a ZoneError, also before the requests have ended. */
  response: Promise<Response>;
}

/** A typed client of a service: promises for unary methods, grpc-js streams for the rest. Errors are ZoneErrors. */
export type ServiceClient<S> = {
  [Name in keyof S]: S[Name] extends Method<infer Kind, infer Request, unknown, never, infer Response>
    ? {
        unary: (request: Request, options?: CallOptions) => Promise<Response>;
        serverStream: (request: Request, options?: CallOptions) => grpc.ClientReadableStream<Response>;
        clientStream: (options?: CallOptions) => ClientStream<Request, Response>;
        bidi: (options?: CallOptions) => grpc.ClientDuplexStream<Request, Response>;
      }[Kind]
    : never;
};

/**
 * Makes a typed client of `service` over a grpc-js client (one channel may carry many services).
 * A unary call rejects with a ZoneError; a stream's "error" event is a grpc.ServiceError, for `ZoneError.from`.
 */
export function createClient<S extends { [Name in keyof S]: Service[string] }>(
  service: S,
  client: grpc.Client,
): ServiceClient<S> {
  const made: Record<string, unknown> = {};
  for (const [name, method] of Object.entries(service) as [string, Service[string]][]) {
    made[name] = call(method, client);
  }
  return made as ServiceClient<S>;
}

function call(method: Service[string], client: grpc.Client): unknown {
  const { path, requestSerialize, responseDeserialize } = method;
  switch (method.kind) {
    case "unary":
      return (request: never, options: CallOptions = {}) =>
        new Promise((resolve, reject) => {
          const made = client.makeUnaryRequest(
            path,
            requestSerialize,
            responseDeserialize,
            request,
            metadataOf(options),
            callOptionsOf(options),
            (error, response) => (error ? reject(ZoneError.from(error)) : resolve(response)),
          );
          cancelOn(options.signal, made);
        });
    case "serverStream":
      return (request: never, options: CallOptions = {}) =>
        cancelOn(
          options.signal,
          client.makeServerStreamRequest(
            path,
            requestSerialize,
            responseDeserialize,
            request,
            metadataOf(options),
            callOptionsOf(options),
          ),
        );
    case "bidi":
      return (options: CallOptions = {}) =>
        cancelOn(
          options.signal,
          client.makeBidiStreamRequest(
            path,
            requestSerialize,
            responseDeserialize,
            metadataOf(options),
            callOptionsOf(options),
          ),
        );
    case "clientStream":
      return (options: CallOptions = {}) => {
        let answered: (error: grpc.ServiceError | null, response: unknown) => void;
        const response = new Promise((resolve, reject) => {
          answered = (error, answer) => (error ? reject(ZoneError.from(error)) : resolve(answer));
        });
        const requests = client.makeClientStreamRequest(
          path,
          requestSerialize,
          responseDeserialize,
          metadataOf(options),
          callOptionsOf(options),
          (error, answer) => answered(error, answer),
        );
        return { requests: cancelOn(options.signal, requests), response };
      };
  }
}

function metadataOf(options: CallOptions): grpc.Metadata {
  const metadata = new grpc.Metadata();
  for (const [key, value] of Object.entries(options.metadata ?? {})) metadata.set(key, value);
  return metadata;
}

function callOptionsOf(options: CallOptions): grpc.CallOptions {
  return options.timeoutMs === undefined ? {} : { deadline: Date.now() + options.timeoutMs };
}

type Cancellable = Pick<grpc.ClientUnaryCall, "cancel" | "once">;

function cancelOn<C extends Cancellable>(signal: AbortSignal | undefined, made: C): C {
  if (signal === undefined) return made;
  const cancel = () => made.cancel();
  if (signal.aborted) cancel();
  signal.addEventListener("abort", cancel, { once: true });
  made.once("status", () => signal.removeEventListener("abort", cancel));
  return made;
}
