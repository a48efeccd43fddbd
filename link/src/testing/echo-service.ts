import * as grpc from "@grpc/grpc-js";

/** A gRPC service whose messages are plain bytes, with a method of each kind. For tests and measurements. */
const identity = (bytes: Buffer): Buffer => bytes;

function method(name: string, requestStream: boolean, responseStream: boolean): grpc.MethodDefinition<Buffer, Buffer> {
  return {
    path: `/zone.link.test.Echo/${name}`,
    requestStream,
    responseStream,
    requestSerialize: identity,
    requestDeserialize: identity,
    responseSerialize: identity,
    responseDeserialize: identity,
  };
}

export const ECHO = {
  /** Gives the request back, and its metadata `x-echo`; "fail" fails with NOT_FOUND, "hang" never answers. */
  unary: method("Unary", false, false),
  /** Text `COUNT SIZE [fail]`: so many messages of so many bytes, then OK, or DATA_LOSS. */
  down: method("Down", false, true),
  /** Answers with the number of bytes, as text. */
  up: method("Up", true, false),
  /** Gives each message back. "end" ends the call from the server's side at once. */
  bidi: method("Bidi", true, true),
};

/** What the server has seen. */
export interface Seen {
  cancelled: number;
  /** Messages that `down` has written. */
  written: number;
  /** Bytes that `up` and `bidi` have received. */
  received: number;
}

/** A server with the service. */
export function echoServer(options: grpc.ServerOptions = {}): { server: grpc.Server; seen: Seen } {
  const server = new grpc.Server({ "grpc.max_receive_message_length": 64 << 20, ...options });
  const seen: Seen = { cancelled: 0, written: 0, received: 0 };
  server.addService(ECHO, {
    unary: (call: grpc.ServerUnaryCall<Buffer, Buffer>, reply: grpc.sendUnaryData<Buffer>) => {
      const trailers = new grpc.Metadata();
      trailers.set("x-trailer-bin", Buffer.from([1, 2, 255]));
      if (call.request.equals(Buffer.from("hang"))) {
        call.on("cancelled", () => seen.cancelled++);
        return;
      }
      if (call.request.equals(Buffer.from("fail"))) {
        return reply({ code: grpc.status.NOT_FOUND, details: "nö such: 100%", metadata: trailers });
      }
      const head = new grpc.Metadata();
      for (const value of call.metadata.get("x-echo")) head.add("x-echo", value);
      call.sendMetadata(head);
      reply(null, call.request, trailers);
    },
    down: async (call: grpc.ServerWritableStream<Buffer, Buffer>) => {
      let ended = false;
      call.setMaxListeners(0);
      call.on("cancelled", () => {
        if (!ended) seen.cancelled++; // grpc-js says it after each call's end too
      });
      const [count = "0", size = "0", then] = call.request.toString().split(" ");
      for (let n = 0; n < Number(count); n++) {
        if (call.cancelled) return;
        seen.written++;
        if (!call.write(Buffer.alloc(Number(size), n))) await drained(call);
      }
      ended = true;
      if (then === "fail") call.emit("error", { code: grpc.status.DATA_LOSS, details: "as asked" });
      else call.end();
    },
    up: (call: grpc.ServerReadableStream<Buffer, Buffer>, reply: grpc.sendUnaryData<Buffer>) => {
      let bytes = 0;
      call.on("data", (chunk: Buffer) => {
        bytes += chunk.length;
        seen.received += chunk.length;
      });
      call.on("end", () => reply(null, Buffer.from(String(bytes))));
      call.on("error", () => {});
    },
    bidi: (call: grpc.ServerDuplexStream<Buffer, Buffer>) => {
      call.on("data", (chunk: Buffer) => {
        seen.received += chunk.length;
        if (chunk.equals(Buffer.from("end"))) call.end();
        else if (!call.write(chunk)) {
          call.pause();
          call.once("drain", () => call.resume());
        }
      });
      call.on("end", () => call.end());
      call.on("error", () => {});
    },
  });
  return { server, seen };
}

function drained(call: grpc.ServerWritableStream<Buffer, Buffer>): Promise<void> {
  return new Promise((resolve) => {
    call.once("drain", resolve);
    call.once("cancelled", resolve);
  });
}

export interface CallSettings extends grpc.CallOptions {
  metadata?: grpc.Metadata;
}

/** Calls of the service. */
export function echoClient(client: grpc.Client) {
  return {
    /** Rejects with the ServiceError. */
    unary: (request: Buffer | string, { metadata = new grpc.Metadata(), ...options }: CallSettings = {}) =>
      new Promise<Buffer>((resolve, reject) => {
        const bytes = Buffer.from(request);
        client.makeUnaryRequest(ECHO.unary.path, identity, identity, bytes, metadata, options, (error, response) =>
          error ? reject(error) : resolve(response ?? Buffer.alloc(0)),
        );
      }),
    down: (request: string, options: grpc.CallOptions = {}) =>
      client.makeServerStreamRequest(ECHO.down.path, identity, identity, Buffer.from(request), options),
    up: (done: (error: grpc.ServiceError | null, response?: Buffer) => void, options: grpc.CallOptions = {}) =>
      client.makeClientStreamRequest(ECHO.up.path, identity, identity, new grpc.Metadata(), options, done),
    bidi: (options: grpc.CallOptions = {}) => client.makeBidiStreamRequest(ECHO.bidi.path, identity, identity, options),
  };
}
