import type { ClientReadableStream } from "@grpc/grpc-js";
import { ZoneError } from "@zone/proto";
import type { ProgressDisplay, ProgressStep } from "../progress.js";

/**
 * Reads a stream of progress to its end, showing it; settles with what the message that `pick` knows held. Rejects with a
 * ZoneError.
 */
export function finalMessage<M extends { readonly progress?: ProgressStep | null }, R>(
  stream: ClientReadableStream<M>,
  display: ProgressDisplay,
  pick: (message: M) => R | null | undefined,
): Promise<R> {
  return new Promise((resolve, reject) => {
    let result: R | undefined;
    stream.on("data", (message: M) => {
      if (message.progress) display.update(message.progress);
      result = pick(message) ?? result;
    });
    stream.on("error", (error) => reject(ZoneError.from(error)));
    stream.on("end", () => {
      if (result !== undefined) return resolve(result);
      // After an error "end" comes too; the promise is settled then.
      reject(
        new ZoneError({ code: "INTERNAL", reason: "NO_RESULT", message: "the bridge ended the call without a result" }),
      );
    });
  });
}

/** Calls `each` for every message, waiting for it before the next is read. Rejects with a ZoneError, or what `each` throws. */
export async function forEachMessage<M>(
  stream: ClientReadableStream<M>,
  each: (message: M) => Promise<void>,
): Promise<void> {
  try {
    for await (const message of stream) await each(message as M);
  } catch (thrown) {
    stream.cancel();
    throw thrown instanceof Error && "details" in thrown ? ZoneError.from(thrown) : thrown;
  }
}
