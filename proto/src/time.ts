import type { google } from "../gen/messages.js";

/** Milliseconds since 1970 as a Timestamp. */
export function toTimestamp(ms: number): google.protobuf.Timestamp.$Properties {
  const seconds = Math.floor(ms / 1000);
  return { seconds, nanos: Math.round((ms - seconds * 1000) * 1e6) };
}

/** A Timestamp as milliseconds since 1970; undefined when absent. */
export function fromTimestamp(value: google.protobuf.Timestamp.$Properties | null | undefined): number | undefined {
  return value ? (value.seconds ?? 0) * 1000 + (value.nanos ?? 0) / 1e6 : undefined;
}

/** Milliseconds as a Duration. */
export function toDuration(ms: number): google.protobuf.Duration.$Properties {
  const seconds = Math.trunc(ms / 1000);
  return { seconds, nanos: Math.round((ms - seconds * 1000) * 1e6) };
}

/** A Duration as milliseconds; undefined when absent. */
export function fromDuration(value: google.protobuf.Duration.$Properties | null | undefined): number | undefined {
  return value ? (value.seconds ?? 0) * 1000 + (value.nanos ?? 0) / 1e6 : undefined;
}
