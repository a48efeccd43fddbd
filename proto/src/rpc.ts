import * as grpc from "@grpc/grpc-js";

/** What a generated message class offers. */
interface MessageClass<In, Out> {
  encode(message: In): { finish(): Uint8Array };
  decode(bytes: Uint8Array): Out;
}

/** One RPC method: a grpc-js method definition that remembers its kind and types. */
export interface Method<Kind extends MethodKind, RequestIn, RequestOut, ResponseIn, ResponseOut> {
  readonly kind: Kind;
  readonly path: string;
  readonly requestStream: boolean;
  readonly responseStream: boolean;
  requestSerialize(value: RequestIn): Buffer;
  requestDeserialize(bytes: Buffer): RequestOut;
  responseSerialize(value: ResponseIn): Buffer;
  responseDeserialize(bytes: Buffer): ResponseOut;
}

export type MethodKind = "unary" | "serverStream" | "clientStream" | "bidi";

/** A service: method name to method, as grpc-js's ServiceDefinition. */
export type Service = Record<string, Method<MethodKind, never, unknown, never, unknown>>;

function method<Kind extends MethodKind>(kind: Kind) {
  return <RequestIn, RequestOut, ResponseIn, ResponseOut>(
    path: string,
    request: MessageClass<RequestIn, RequestOut>,
    response: MessageClass<ResponseIn, ResponseOut>,
  ): Method<Kind, RequestIn, RequestOut, ResponseIn, ResponseOut> => ({
    kind,
    path,
    requestStream: kind === "clientStream" || kind === "bidi",
    responseStream: kind === "serverStream" || kind === "bidi",
    requestSerialize: (value) => toBuffer(request.encode(value).finish()),
    requestDeserialize: (bytes) => request.decode(bytes),
    responseSerialize: (value) => toBuffer(response.encode(value).finish()),
    responseDeserialize: (bytes) => response.decode(bytes),
  });
}

function toBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

export const unary = method("unary");
export const serverStream = method("serverStream");
export const clientStream = method("clientStream");
export const bidi = method("bidi");

/** The typed handlers that implement a service; pass them to `grpc.Server.addService` with the service. */
export type Handlers<S> = {
  [Name in keyof S]: S[Name] extends Method<infer Kind, never, infer Request, infer Response, unknown>
    ? {
        unary: grpc.handleUnaryCall<Request, Response>;
        serverStream: grpc.handleServerStreamingCall<Request, Response>;
        clientStream: grpc.handleClientStreamingCall<Request, Response>;
        bidi: grpc.handleBidiStreamingCall<Request, Response>;
      }[Kind]
    : never;
};

/** Handlers of `service` that all answer UNIMPLEMENTED, to be overridden one by one. */
export function unimplemented<S extends { [Name in keyof S]: Service[string] }>(service: S): Handlers<S> {
  const handlers: Record<string, unknown> = {};
  for (const [name, { path, responseStream }] of Object.entries(service) as [string, Service[string]][]) {
    const status = { code: grpc.status.UNIMPLEMENTED, details: `${path} is not served here` };
    const answer = (_: unknown, callback: (error: typeof status) => void) => callback(status);
    const fail = (call: { emit(event: "error", error: typeof status): boolean }) => call.emit("error", status);
    handlers[name] = responseStream ? fail : answer;
  }
  return handlers as Handlers<S>;
}
