import { setTimeout } from "node:timers/promises";
import type * as grpc from "@grpc/grpc-js";
import { ZoneError } from "@zone/proto";
import { invalid } from "../errors.js";
import { FILE_LIMITS } from "./limits.js";
import type { Send } from "./read.js";

/** A request of Write and CopyIn. */
interface Upload<Open> {
  open?: Open | null;
  data?: Uint8Array | null;
}

/** What a client sends with Write and CopyIn: what its first message opens, and then the bytes. */
export interface OpenUpload<Open> {
  open: Open;
  chunks: AsyncGenerator<Uint8Array>;
}

/** Takes the first message: OPEN_EXPECTED when it is another one. */
export async function openUpload<Open>(
  call: grpc.ServerReadableStream<Upload<Open>, unknown>,
): Promise<OpenUpload<Open>> {
  const messages = (call as AsyncIterable<Upload<Open>>)[Symbol.asyncIterator]();
  const first = await next(call, messages);
  if (!first?.open) throw invalid("OPEN_EXPECTED", "the first message must be `open`");
  return { open: first.open, chunks: chunksOf(call, messages) };
}

async function* chunksOf<Open>(
  call: grpc.ServerReadableStream<Upload<Open>, unknown>,
  messages: AsyncIterator<Upload<Open>>,
): AsyncGenerator<Uint8Array> {
  for (;;) {
    const message = await next(call, messages);
    if (message === undefined) return;
    if (message.open) throw invalid("OPEN_EXPECTED", "`open` may come once, as the first message");
    const data = message.data ?? new Uint8Array();
    if (data.length > FILE_LIMITS.chunkBytes) {
      throw invalid("INVALID_SIZE", `a message has ${data.length} bytes; ${FILE_LIMITS.chunkBytes} are the most`);
    }
    if (data.length > 0) yield data;
  }
}

/**
 * Settles when a stream that has ended is known to have ended well. HTTP/2 has a flag for that, but Node's client sets it also
 * when it gives a call up, and says so in a frame of its own a moment later (lib/internal/http2/core.js closeStream). What
 * must not happen for a call that was given up waits for that moment.
 */
export async function endedWell(call: { cancelled: boolean }): Promise<void> {
  await setTimeout(FILE_LIMITS.endGraceMs);
  if (call.cancelled) throw cancelled();
}

/** The next message; undefined when the client has ended its stream. CANCELLED when it, or its link, has gone. */
async function next<Message>(
  call: { cancelled: boolean },
  messages: AsyncIterator<Message>,
): Promise<Message | undefined> {
  try {
    const { done, value } = await messages.next();
    // A stream that is destroyed before its end may look like one that has ended.
    if (!call.cancelled) return done ? undefined : value;
  } catch (error) {
    if (!call.cancelled) throw error;
  }
  throw cancelled();
}

function cancelled(): ZoneError {
  return new ZoneError({ code: "CANCELLED", reason: "CANCELLED", message: "the call was cancelled" });
}

/** Writes messages, one after the other: settles when the client's side has taken one. Rejects when the call is cancelled. */
export function sender<Message>(
  call: grpc.ServerWritableStream<unknown, Message>,
  toMessage: (data: Uint8Array) => Message,
): Send {
  const gone = new Promise<never>((_, reject) => call.once("cancelled", () => reject(cancelled())));
  gone.catch(() => {});
  return (data) => {
    if (call.cancelled) return Promise.reject(cancelled());
    const taken = new Promise<void>((resolve, reject) => {
      call.write(toMessage(data), (error?: Error | null) => (error ? reject(error) : resolve()));
    });
    return Promise.race([taken, gone]);
  };
}
