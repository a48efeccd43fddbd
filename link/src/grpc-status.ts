import { constants, type IncomingHttpHeaders } from "node:http2";
import * as grpc from "@grpc/grpc-js";

const { status } = grpc;

/** A call's end. */
export function statusOf(code: grpc.status, details: string, metadata = new grpc.Metadata()): grpc.StatusObject {
  return { code, details, metadata };
}

/** The status in a response's trailers, or in the headers of one that has nothing else. */
export function statusFromTrailers(headers: IncomingHttpHeaders): grpc.StatusObject {
  let metadata: grpc.Metadata;
  try {
    metadata = grpc.Metadata.fromHttp2Headers(headers);
  } catch (error) {
    return statusOf(status.INTERNAL, `the response's trailers cannot be read: ${String(error)}`);
  }
  metadata.remove("grpc-status");
  metadata.remove("grpc-message");
  const code = Number(headers["grpc-status"] ?? Number.NaN);
  const message = headers["grpc-message"];
  const details = typeof message === "string" ? percentDecoded(message) : "";
  if (!(code in status)) return statusOf(status.UNKNOWN, details || "the response ended without a status", metadata);
  return statusOf(code, details, metadata);
}

/** A malformed message is given as it is: it is for people. */
function percentDecoded(message: string): string {
  try {
    return decodeURIComponent(message);
  } catch {
    return message;
  }
}

/** https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md */
export function statusFromHttp(httpStatus: number | undefined): grpc.StatusObject {
  const codes: Record<number, grpc.status> = {
    400: status.INTERNAL,
    401: status.UNAUTHENTICATED,
    403: status.PERMISSION_DENIED,
    404: status.UNIMPLEMENTED,
    429: status.UNAVAILABLE,
    502: status.UNAVAILABLE,
    503: status.UNAVAILABLE,
    504: status.UNAVAILABLE,
  };
  return statusOf(codes[httpStatus ?? 0] ?? status.UNKNOWN, `received HTTP status ${httpStatus}`);
}

/** "HTTP2 Transport Mapping" of https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md */
export function statusFromReset(rstCode: number | undefined): grpc.StatusObject {
  switch (rstCode) {
    case constants.NGHTTP2_NO_ERROR:
      return statusOf(status.INTERNAL, "the call ended without a status");
    case constants.NGHTTP2_REFUSED_STREAM:
      return statusOf(status.UNAVAILABLE, "the agent refused the call");
    case constants.NGHTTP2_CANCEL:
      return statusOf(status.CANCELLED, "the agent cancelled the call");
    case constants.NGHTTP2_ENHANCE_YOUR_CALM:
      return statusOf(status.RESOURCE_EXHAUSTED, "the agent's limits are reached (ENHANCE_YOUR_CALM)");
    case constants.NGHTTP2_INADEQUATE_SECURITY:
      return statusOf(status.PERMISSION_DENIED, "the agent wants more security (INADEQUATE_SECURITY)");
    default:
      return statusOf(status.INTERNAL, `the agent reset the call (RST_STREAM ${rstCode})`);
  }
}
