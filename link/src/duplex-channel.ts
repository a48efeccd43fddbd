import type { Duplex } from "node:stream";
import type * as grpc from "@grpc/grpc-js";

/** A gRPC client over one byte stream, which it owns from now on. */
export function clientOver(duplex: Duplex): grpc.Client {
  throw new Error(`not yet: ${duplex}`);
}
