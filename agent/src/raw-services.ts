import type * as grpc from "@grpc/grpc-js";
import { ZoneError } from "@zone/proto";
import { streamHandler, unaryHandler } from "./handlers.js";

/**
 * grpc.health.v1 and grpc.reflection.v1 (and v1alpha, which is the same on the wire) for stock clients. What they need is
 * heavy and seldom used, so it is in reflection.ts, loaded at the first call: here the methods carry bytes.
 */
export interface RawServices {
  /** Answers a HealthCheckRequest; undefined for a service that there is none of. */
  check(request: Buffer): Buffer | undefined;
  /** Answers it for Watch, which knows SERVICE_UNKNOWN. */
  watch(request: Buffer): Buffer;
  listHealth(): Buffer;
  /** Answers a ServerReflectionRequest. */
  reflect(request: Buffer): Buffer;
}

/** Whether a service, or with "" the agent, takes work; undefined when there is no such service. */
export type Health = (service: string) => boolean | undefined;

const bytes = (value: Buffer): Buffer => value;

function method(path: string, requestStream: boolean, responseStream: boolean): grpc.MethodDefinition<Buffer, Buffer> {
  return {
    ...{ path, requestStream, responseStream },
    ...{ requestSerialize: bytes, requestDeserialize: bytes, responseSerialize: bytes, responseDeserialize: bytes },
  };
}

/**
 * Adds the services to `server`. `load` imports what answers them; `onHealth` calls back when health may have changed.
 */
export function addRawServices(
  server: grpc.Server,
  load: () => Promise<RawServices>,
  onHealth: (changed: () => void) => () => void,
): void {
  server.addService(
    {
      check: method("/grpc.health.v1.Health/Check", false, false),
      list: method("/grpc.health.v1.Health/List", false, false),
      watch: method("/grpc.health.v1.Health/Watch", false, true),
    },
    {
      check: unaryHandler(async (request: Buffer) => {
        const answer = (await load()).check(request);
        if (answer) return answer;
        throw new ZoneError({ code: "NOT_FOUND", reason: "SERVICE_UNKNOWN", message: "there is no such service" });
      }),
      list: unaryHandler(async () => (await load()).listHealth()),
      watch: streamHandler((call: grpc.ServerWritableStream<Buffer, Buffer>) => watchHealth(call, load, onHealth)),
    },
  );
  for (const version of ["v1", "v1alpha"]) {
    server.addService(
      { info: method(`/grpc.reflection.${version}.ServerReflection/ServerReflectionInfo`, true, true) },
      { info: streamHandler((call: grpc.ServerDuplexStream<Buffer, Buffer>) => reflect(call, load)) },
    );
  }
}

async function watchHealth(
  call: grpc.ServerWritableStream<Buffer, Buffer>,
  load: () => Promise<RawServices>,
  onHealth: (changed: () => void) => () => void,
): Promise<void> {
  const services = await load();
  let last: Buffer | undefined;
  const tell = () => {
    const answer = services.watch(call.request);
    if (last?.equals(answer)) return;
    last = answer;
    call.write(answer);
  };
  const leave = onHealth(tell);
  tell();
  await new Promise<void>((resolve) => {
    if (call.cancelled) resolve();
    call.once("cancelled", resolve);
  });
  leave();
}

/** One answer per request, in order; requests are read no faster than the client takes the answers. */
async function reflect(call: grpc.ServerDuplexStream<Buffer, Buffer>, load: () => Promise<RawServices>): Promise<void> {
  const services = await load();
  // Not "for await": at its end it destroys a duplex stream, and with it the status that is still to be sent.
  await new Promise<void>((resolve, reject) => {
    call.on("data", (request: Buffer) => {
      try {
        if (!call.write(services.reflect(request))) call.pause();
      } catch (error) {
        reject(error); // bytes that are no request
      }
    });
    call.on("drain", () => call.resume());
    call.once("end", resolve);
    call.once("cancelled", resolve);
  });
}
