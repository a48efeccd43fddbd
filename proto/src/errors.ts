import { Metadata, type ServiceError, type StatusObject, status } from "@grpc/grpc-js";
import { google } from "../gen/messages.js";

/** Name of a canonical gRPC status code. */
export type Code = Exclude<keyof typeof status, "OK">;

/** What a ZoneError is made of. */
export interface ZoneErrorInit {
  code: Code;
  /** Stable, UPPER_SNAKE_CASE; the .proto files list them. */
  reason: string;
  /** Names what failed, on what, why, and what to do; one line. */
  message: string;
  /** Whose reason it is: "zone.agent", "zone.bridge", "zone.link"... */
  domain?: string;
  /** What it failed on. */
  resource?: { type: string; name: string };
  /** More, for programs. */
  metadata?: Record<string, string>;
  cause?: unknown;
}

const DETAILS_KEY = "grpc-status-details-bin";
const ANY_PREFIX = "type.googleapis.com/";
/** Most bytes of status details that are decoded from a peer. */
const MAX_DETAILS_BYTES = 16 * 1024;

/** The one error type that crosses our packages and RPCs. */
export class ZoneError extends Error {
  override readonly name = "ZoneError";
  readonly code: Code;
  readonly reason: string;
  readonly domain: string;
  readonly resource: { type: string; name: string } | undefined;
  readonly metadata: Record<string, string>;

  constructor(init: ZoneErrorInit) {
    super(init.message, { cause: init.cause });
    this.code = init.code;
    this.reason = init.reason;
    this.domain = init.domain ?? "zone";
    this.resource = init.resource;
    this.metadata = init.metadata ?? {};
  }

  /** Any thrown value as a ZoneError: itself, a gRPC error with its details, or INTERNAL. */
  static from(thrown: unknown): ZoneError {
    if (thrown instanceof ZoneError) return thrown;
    if (isServiceError(thrown)) return fromServiceError(thrown);
    const message = thrown instanceof Error ? thrown.message : String(thrown);
    return new ZoneError({ code: "INTERNAL", reason: "UNEXPECTED", message, cause: thrown });
  }

  /** As gRPC sends it: code, message, and google.rpc.Status with ErrorInfo and ResourceInfo in the trailer. */
  toStatus(): StatusObject {
    const { ErrorInfo, ResourceInfo, Status } = google.rpc;
    const details = [
      any("ErrorInfo", ErrorInfo.encode({ reason: this.reason, domain: this.domain, metadata: this.metadata })),
    ];
    if (this.resource) {
      const { type, name } = this.resource;
      details.push(any("ResourceInfo", ResourceInfo.encode({ resourceType: type, resourceName: name })));
    }
    const metadata = new Metadata();
    const encoded = Status.encode({ code: status[this.code], message: this.message, details }).finish();
    metadata.set(DETAILS_KEY, Buffer.from(encoded));
    return { code: status[this.code], details: this.message, metadata };
  }
}

function any(type: string, writer: { finish(): Uint8Array }): google.protobuf.Any.$Properties {
  return { type_url: `${ANY_PREFIX}google.rpc.${type}`, value: writer.finish() };
}

function isServiceError(thrown: unknown): thrown is ServiceError {
  return thrown instanceof Error && "code" in thrown && typeof thrown.code === "number" && "details" in thrown;
}

function fromServiceError(error: ServiceError): ZoneError {
  const code = (status[error.code] ?? "UNKNOWN") as Code;
  const init: ZoneErrorInit = {
    code,
    reason: code,
    domain: "grpc",
    message: error.details || error.message,
    cause: error,
  };
  const raw = error.metadata?.get(DETAILS_KEY)[0];
  if (!Buffer.isBuffer(raw) || raw.length > MAX_DETAILS_BYTES) return new ZoneError(init);
  try {
    for (const detail of google.rpc.Status.decode(raw).details ?? []) {
      if (!detail.value) continue;
      if (detail.type_url === `${ANY_PREFIX}google.rpc.ErrorInfo`) {
        const info = google.rpc.ErrorInfo.decode(detail.value);
        Object.assign(init, { reason: info.reason || code, domain: info.domain || "grpc", metadata: info.metadata });
      } else if (detail.type_url === `${ANY_PREFIX}google.rpc.ResourceInfo`) {
        const info = google.rpc.ResourceInfo.decode(detail.value);
        init.resource = { type: info.resourceType ?? "", name: info.resourceName ?? "" };
      }
    }
  } catch {
    // A peer's details that do not decode say nothing: the code and message stand.
  }
  return new ZoneError(init);
}
