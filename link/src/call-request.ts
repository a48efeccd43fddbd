import type { OutgoingHttpHeaders } from "node:http2";
import * as grpc from "@grpc/grpc-js";

type CreateCall = Parameters<grpc.ChannelInterface["createCall"]>;

/** What createCall was given. */
export interface CallRequest {
  readonly method: string;
  readonly deadline: grpc.Deadline;
  readonly host: string;
  readonly parent: CreateCall[3];
  readonly flags: CreateCall[4];
}

/** A call made while serving another ends with it, as far as `grpc.propagate` says. */
export interface Followed {
  /** In ms since the epoch; may be infinite. */
  readonly deadline: number;
  /** The call is over: the parent needs to know it no more. */
  release(): void;
}

/** Binds a call to the one that it is made for, if there is one: `cancel` is called when that is cancelled, perhaps at once. */
export function followParent(request: CallRequest, cancel: () => void): Followed {
  const deadline = Number(request.deadline);
  const { parent, flags } = request;
  if (!parent) return { deadline, release: () => {} };
  const wanted = flags ?? grpc.propagate.DEFAULTS;
  if (wanted & grpc.propagate.CANCELLATION) {
    if (parent.cancelled) cancel();
    else parent.once("cancelled", cancel);
  }
  return {
    deadline: wanted & grpc.propagate.DEADLINE ? Math.min(deadline, Number(parent.getDeadline())) : deadline,
    release: () => parent.removeListener("cancelled", cancel),
  };
}

/** "Requests" of https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md. `remainingMs`: until the deadline; may be infinite. */
export function requestHeaders(
  request: CallRequest,
  metadata: grpc.Metadata,
  remainingMs: number,
): OutgoingHttpHeaders {
  return {
    ...(metadata.toHttp2Headers() as OutgoingHttpHeaders),
    ":method": "POST",
    ":path": request.method,
    ":scheme": "http",
    ":authority": request.host,
    "content-type": "application/grpc",
    te: "trailers",
    "grpc-accept-encoding": "identity",
    "user-agent": "zone-link",
    ...(remainingMs === Number.POSITIVE_INFINITY ? {} : { "grpc-timeout": timeoutHeader(remainingMs) }),
  };
}

/** At most eight digits and a unit; never less than what remains, and never 0. */
export function timeoutHeader(ms: number): string {
  const whole = Math.max(1, Math.ceil(ms));
  if (whole < 1e8) return `${whole}m`;
  const seconds = Math.ceil(whole / 1000);
  return seconds < 1e8 ? `${seconds}S` : `${Math.min(Math.ceil(seconds / 3600), 99_999_999)}H`;
}
