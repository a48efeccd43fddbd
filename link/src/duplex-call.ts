import { type ClientHttp2Stream, constants, type IncomingHttpHeaders } from "node:http2";
import * as grpc from "@grpc/grpc-js";
import { type CallRequest, type Followed, followParent, requestHeaders } from "./call-request.js";
import type { DuplexChannel } from "./duplex-channel.js";
import { messageOf } from "./errors.js";
import { statusFromHttp, statusFromReset, statusFromTrailers, statusOf } from "./grpc-status.js";
import { MessageDecoder, MessageError, messagePrefix } from "./message-framing.js";

const { status } = grpc;
type Call = grpc.experimental.CallStream;

/** Up to here a message is copied behind its prefix, which is cheaper than a second write. */
const COPY_MAX_BYTES = 16 * 1024;
const MAX_TIMEOUT_MS = 2 ** 31 - 1;
let calls = 0;

/**
 * One call: an HTTP/2 stream. Its end is told to the listener once. What the server said (messages, then its status) comes in
 * order and at the reader's pace; what this side decides (cancel, deadline, lost link) comes at once.
 *
 * created --start--> open --status delivered--> done
 * created, open --cancel, deadline, link lost--> done
 */
export class DuplexCall implements Call {
  readonly #channel: DuplexChannel;
  readonly #request: CallRequest;
  readonly #number = ++calls;
  readonly #followed: Followed;
  readonly #decoder: MessageDecoder;
  #phase: "created" | "open" | "done" = "created";
  #listener: Parameters<Call["start"]>[1] | undefined;
  #stream: ClientHttp2Stream | undefined;
  #timer: NodeJS.Timeout | undefined;
  #credentials = false;
  /** The end of a call that is over before it has a listener. */
  #early: grpc.StatusObject | undefined;
  /** Messages that the reader has asked for. */
  #wanted = 0;
  /** A message that is there before the reader has asked for it. */
  #ready: Buffer | undefined;
  /** All of the response's bytes are in the decoder. */
  #inputEnded = false;
  /** What the server said about the call's end. */
  #verdict: grpc.StatusObject | undefined;

  constructor(channel: DuplexChannel, request: CallRequest) {
    this.#channel = channel;
    this.#request = request;
    this.#decoder = new MessageDecoder(channel.maxReceiveBytes);
    this.#followed = followParent(request, () =>
      this.cancelWithStatus(status.CANCELLED, "the call that this one was made for was cancelled"),
    );
  }

  getPeer(): string {
    return this.#channel.getTarget();
  }

  getCallNumber(): number {
    return this.#number;
  }

  getAuthContext(): null {
    return null;
  }

  setCredentials(): void {
    this.#credentials = true;
  }

  start(metadata: grpc.Metadata, listener: Parameters<Call["start"]>[1]): void {
    this.#listener = listener;
    if (this.#early) {
      this.#tell(this.#early);
      return;
    }
    const opened = this.#refusal() ?? this.#open(metadata);
    if ("code" in opened) {
      this.#finish(opened);
      return;
    }
    this.#stream = opened.stream;
    this.#phase = "open";
    this.#listen(opened.stream);
    this.#watchDeadline();
  }

  /** Why the call cannot even begin. */
  #refusal(): grpc.StatusObject | undefined {
    if (this.#credentials) {
      return statusOf(status.UNAUTHENTICATED, "call credentials need a secure channel, which a link is not");
    }
    if (this.#remainingMs() <= 0) return deadlineExceeded();
    const { http2 } = this.#channel;
    return http2.closed || http2.destroyed ? this.#lost() : undefined;
  }

  #open(metadata: grpc.Metadata): { stream: ClientHttp2Stream } | grpc.StatusObject {
    try {
      const headers = requestHeaders(this.#request, metadata, this.#remainingMs());
      return { stream: this.#channel.http2.request(headers) };
    } catch (error) {
      if (isGoaway(error)) return this.#lost();
      return statusOf(status.INTERNAL, `the call cannot be sent: ${messageOf(error)}`);
    }
  }

  sendMessageWithContext(context: Parameters<Call["sendMessageWithContext"]>[0], message: Buffer): void {
    const stream = this.#stream;
    // A failed write ends the stream, and its "close" the call. nextTick: no callback while the stream writes (nodejs/node#49147).
    const done = () => process.nextTick(() => context.callback?.());
    const prefix = messagePrefix(message.length);
    if (!stream || stream.destroyed || stream.writableEnded) {
      done();
    } else if (message.length <= COPY_MAX_BYTES) {
      stream.write(Buffer.concat([prefix, message]), done);
    } else {
      stream.cork();
      stream.write(prefix);
      stream.write(message, done);
      stream.uncork();
    }
  }

  halfClose(): void {
    if (this.#stream && !this.#stream.destroyed && !this.#stream.writableEnded) this.#stream.end();
  }

  startRead(): void {
    this.#wanted++;
    this.#deliver();
  }

  cancelWithStatus(code: grpc.status, details: string): void {
    this.#finish(statusOf(code, details));
  }

  #listen(stream: ClientHttp2Stream): void {
    stream.pause();
    stream.on("response", (headers) => this.#onResponse(headers));
    stream.on("trailers", (headers) => {
      this.#verdict ??= statusFromTrailers(headers);
      this.#deliver();
    });
    stream.on("data", (chunk: Buffer) => {
      if (this.#phase === "done") return;
      this.#decoder.push(chunk);
      this.#deliver();
    });
    stream.on("end", () => {
      this.#inputEnded = true;
      this.#deliver();
    });
    stream.on("error", () => {}); // "close" comes after it, and its rstCode or the session's state say more
    stream.on("close", () => this.#onClose(stream));
  }

  #onResponse(headers: IncomingHttpHeaders & { ":status"?: number }): void {
    if (headers[":status"] !== 200) this.#verdict = statusFromHttp(headers[":status"]);
    else if (headers["grpc-status"] !== undefined) this.#verdict = statusFromTrailers(headers);
    else this.#onMetadata(headers);
    this.#deliver();
  }

  #onMetadata(headers: IncomingHttpHeaders): void {
    try {
      const metadata = grpc.Metadata.fromHttp2Headers(headers);
      if (this.#phase === "open") this.#listener?.onReceiveMetadata(metadata);
    } catch (error) {
      this.#finish(statusOf(status.INTERNAL, `the response's metadata cannot be read: ${messageOf(error)}`));
    }
  }

  #onClose(stream: ClientHttp2Stream): void {
    // Without "end" bytes may be missing: then only an error that the server gave can stand.
    const complete = this.#inputEnded && this.#verdict !== undefined;
    if (!complete && (this.#verdict === undefined || this.#verdict.code === status.OK)) {
      this.#finish(this.#channel.http2.destroyed ? this.#lost() : statusFromReset(stream.rstCode));
      return;
    }
    this.#inputEnded = true;
    this.#deliver();
  }

  /** Gives the reader what it wants of what there is, and the status after the last message. */
  #deliver(): void {
    while (this.#phase === "open") {
      this.#ready ??= this.#nextMessage();
      if (this.#ready === undefined) break;
      if (this.#wanted === 0) {
        this.#stream?.pause();
        return;
      }
      const message = this.#ready;
      this.#ready = undefined;
      this.#wanted--;
      this.#listener?.onReceiveMessage(message);
    }
    if (this.#phase !== "open") return;
    if (this.#inputEnded && this.#verdict) this.#finish(this.#checked(this.#verdict));
    else this.#stream?.resume(); // for the next message, or to see that there is none: less than one is in memory
  }

  #nextMessage(): Buffer | undefined {
    try {
      return this.#decoder.next();
    } catch (error) {
      if (!(error instanceof MessageError)) throw error;
      const code = error.kind === "too-long" ? status.RESOURCE_EXHAUSTED : status.INTERNAL;
      this.#finish(this.#verdict && this.#verdict.code !== status.OK ? this.#verdict : statusOf(code, error.message));
      return undefined;
    }
  }

  #checked(verdict: grpc.StatusObject): grpc.StatusObject {
    const cut = verdict.code === status.OK && this.#decoder.truncated;
    return cut ? statusOf(status.INTERNAL, "the response ended within a message") : verdict;
  }

  /** Ends the call, whatever its phase. The first end counts. */
  #finish(end: grpc.StatusObject): void {
    if (this.#phase === "done") return;
    this.#phase = "done";
    clearTimeout(this.#timer);
    this.#followed?.release(); // not yet there when the parent was cancelled before
    if (this.#stream) this.#leave(this.#stream, end.code);
    if (this.#listener) this.#tell(end);
    else this.#early = end;
  }

  /**
   * A reset only where the stream would not end by itself: servers count resets, and Node's gives the whole session up (GOAWAY 2)
   * when there are more than 1,000 and 33 a second (nghttp2_option_set_stream_reset_rate_limit).
   */
  #leave(stream: ClientHttp2Stream, code: grpc.status): void {
    if (this.#inputEnded && stream.writableLength === 0) stream.end();
    else if (!stream.closed) stream.close(code === status.OK ? constants.NGHTTP2_NO_ERROR : constants.NGHTTP2_CANCEL);
    stream.resume(); // what is still to come is dropped, so that the stream can end
  }

  /** Never from within the caller's own call of `start` or `cancel`. */
  #tell(end: grpc.StatusObject): void {
    process.nextTick(() => this.#listener?.onReceiveStatus(end));
  }

  #lost(): grpc.StatusObject {
    return statusOf(status.UNAVAILABLE, this.#channel.lossReason().message);
  }

  #remainingMs(): number {
    return this.#followed.deadline - Date.now();
  }

  #watchDeadline(): void {
    const ms = this.#remainingMs();
    if (ms <= 0) this.#finish(deadlineExceeded());
    else if (ms < Number.POSITIVE_INFINITY) {
      this.#timer = setTimeout(() => this.#watchDeadline(), Math.min(Math.ceil(ms), MAX_TIMEOUT_MS));
    }
  }
}

function deadlineExceeded(): grpc.StatusObject {
  return statusOf(status.DEADLINE_EXCEEDED, "the deadline is exceeded");
}

function isGoaway(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ERR_HTTP2_GOAWAY_SESSION";
}
