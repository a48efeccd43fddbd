import type { Duplex, Readable, Writable } from "node:stream";
import { type Client, type ServerDuplexStream, type ServiceError, type StatusObject, status } from "@grpc/grpc-js";
import { ZoneError } from "@zone/proto";
import { sendable } from "../errors.js";
import { isLinkError } from "../zones/zone-link.js";
import { passedOn } from "./metadata.js";

/** A call whose messages are not decoded. On the wire a call of any kind is one of the bidirectional kind. */
export type RawCall = ServerDuplexStream<Buffer, Buffer>;

/** Leaves a message as it is. */
export const undecoded = (message: Buffer): Buffer => message;

/** Where a call goes. */
export interface Upstream {
  client: Client;
  /** What to say when the link is lost in the middle of the call. */
  onLinkLost: (error: ZoneError) => Promise<ZoneError>;
}

/**
 * Makes the call that a client has made to the bridge, to an agent: messages, metadata, status and its details, the deadline,
 * cancellation and back-pressure both ways. Each direction holds only what the streams' own buffers take (16 messages a side).
 */
export function forwardCall(call: RawCall, { client, onLinkLost }: Upstream): void {
  const deadline = call.getDeadline();
  const options = deadline === Number.POSITIVE_INFINITY ? {} : { deadline };
  const up = client.makeBidiStreamRequest(call.getPath(), undecoded, undecoded, passedOn(call.metadata), options);
  call.on("cancelled", () => up.cancel());
  if (call.cancelled) up.cancel();

  up.on("metadata", (metadata) => call.sendMetadata(passedOn(metadata)));
  // The status may be known before the last messages have been taken by a slow client: it waits for them.
  const ended = new Promise<void>((resolve) => up.once("end", resolve));
  up.on("error", () => {}); // is told with the status
  up.on("status", async (end: StatusObject) => {
    await ended;
    if (end.code === status.OK) {
      call.end(passedOn(end.metadata));
      return;
    }
    const error = ZoneError.from(Object.assign(new Error(end.details), end) satisfies ServiceError);
    fail(
      call,
      isLinkError(error) ? (await onLinkLost(error)).toStatus() : { ...end, metadata: passedOn(end.metadata) },
    );
  });
  pump(call, up, () => up.end());
  pump(up, call, () => {});
}

/** Ends a call with an error. */
export function fail(call: RawCall, end: StatusObject): void {
  const status = sendable(end);
  call.emit("error", Object.assign(new Error(status.details), status));
}

/** Moves messages, no faster than they are taken. */
function pump(from: Readable | Duplex, to: Writable | Duplex, onEnd: () => void): void {
  from.on("data", (message: Buffer) => {
    if (to.writable && !to.write(message)) {
      from.pause();
      to.once("drain", () => from.resume());
    }
  });
  from.on("end", onEnd);
}
