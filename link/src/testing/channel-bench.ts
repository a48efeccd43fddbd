import { mkdtempSync, rmSync } from "node:fs";
import * as net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import type * as grpc from "@grpc/grpc-js";
import { clientOn, DuplexChannel } from "../duplex-channel.js";
import { sessionServer } from "../server-sessions.js";
import { echoClient, echoServer } from "./echo-service.js";

/** Both ends of a connection over a Unix socket. For tests. */
export async function socketPair(): Promise<[Duplex, Duplex]> {
  const folder = mkdtempSync(join(tmpdir(), "zone-link-"));
  const path = join(folder, "s");
  const accepted = new Promise<net.Socket>((resolve) => {
    const server = net.createServer({ allowHalfOpen: true }, (socket) => {
      server.close();
      resolve(socket);
    });
    server.listen(path);
  });
  const socket = net.connect({ path, allowHalfOpen: true });
  const pair: [Duplex, Duplex] = [socket, await accepted];
  rmSync(folder, { recursive: true });
  return pair;
}

/** A channel on one end, and a server on the other. */
export function openChannel(near: Duplex, far: Duplex, serverOptions: grpc.ServerOptions = {}) {
  const { server, seen } = echoServer(serverOptions);
  const session = sessionServer(server).serve(far);
  const channel = new DuplexChannel(near, { maxReceiveBytes: 8 << 20 });
  const client = clientOn(channel);
  return { server, seen, session, channel, client, echo: echoClient(client), far, near };
}

/** All messages and the end of a response. */
export async function collect(
  call: grpc.ClientReadableStream<Buffer>,
): Promise<{ messages: Buffer[]; end: grpc.StatusObject }> {
  const messages: Buffer[] = [];
  call.on("error", () => {});
  const end = new Promise<grpc.StatusObject>((resolve) => call.once("status", resolve));
  call.on("data", (message: Buffer) => messages.push(message));
  return { end: await end, messages };
}

/** What a call rejects with. */
export function failure(call: Promise<unknown>): Promise<grpc.ServiceError> {
  return call.then(
    () => Promise.reject(new Error("it did not fail")),
    (error: grpc.ServiceError) => error,
  );
}
