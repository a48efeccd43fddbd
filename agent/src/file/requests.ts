import type { google, zone } from "@zone/proto";
import { invalid } from "../errors.js";
import { exactInteger } from "../numbers.js";
import type { CopyInWish } from "./copy-in.js";
import type { Attributes } from "./edit.js";
import { timestampToNanoseconds } from "./file-info.js";
import { checkPath } from "./path.js";
import type { WriteWish } from "./write.js";

type Optional<T> = T | null | undefined;

/** 2^32-1 means "no id" to chown(2). */
const MAX_ID = 0xffff_fffe;

/** Permission bits; undefined when absent. INVALID_MODE. */
export function checkMode(mode: Optional<number>): number | undefined {
  if (mode === null || mode === undefined) return undefined;
  if (mode > 0o7777)
    throw invalid("INVALID_MODE", `mode 0${mode.toString(8)} is more than permission bits: 0 to 07777`);
  return mode;
}

/** A user's or group's number; undefined when absent. INVALID_MODE. */
export function checkId(id: Optional<number>): number | undefined {
  if (id === null || id === undefined) return undefined;
  if (id > MAX_ID) throw invalid("INVALID_MODE", `${id} is no user or group: 0 to ${MAX_ID}`);
  return id;
}

/** A size or offset in bytes. INVALID_SIZE. */
export function checkSize(size: Optional<number>, what: string): number {
  const exact = exactInteger(size);
  if (exact === undefined || exact < 0) throw invalid("INVALID_SIZE", `${what} is out of range: 0 to 2^53-1`);
  return exact;
}

export function checkWrite(open: zone.agent.v1.WriteOpen.$Properties): WriteWish {
  const hasOffset = open.offset !== null && open.offset !== undefined;
  if (hasOffset && open.append) throw invalid("INVALID_SIZE", "a file is written from an `offset`, or `append`ed to");
  const into = open.append
    ? ({ at: "end" } as const)
    : hasOffset
      ? { at: "offset" as const, offset: checkSize(open.offset, "`offset`") }
      : undefined;
  const hasSize = open.size !== null && open.size !== undefined;
  if (hasSize && into) throw invalid("INVALID_SIZE", "a `size` is of a whole file, without `offset` or `append`");
  return {
    path: checkPath(open.path),
    mode: checkMode(open.mode) || undefined,
    uid: checkId(open.uid),
    gid: checkId(open.gid),
    into,
    size: hasSize ? checkSize(open.size, "`size`") : undefined,
    exclusive: open.exclusive ?? false,
  };
}

export function checkCopyIn(open: zone.agent.v1.CopyInOpen.$Properties): CopyInWish {
  return {
    path: checkPath(open.path),
    uid: checkId(open.uid),
    gid: checkId(open.gid),
    noReplaceTypes: open.noReplaceTypes ?? false,
  };
}

export function checkAttributes(request: zone.agent.v1.SetAttributesRequest.$Properties): Attributes {
  return {
    mode: checkMode(request.mode),
    uid: checkId(request.uid),
    gid: checkId(request.gid),
    modifiedNs: checkTime(request.modifiedAt, "modified_at"),
    accessedNs: checkTime(request.accessedAt, "accessed_at"),
  };
}

function checkTime(time: Optional<google.protobuf.Timestamp.$Properties>, what: string): bigint | undefined {
  if (!time) return undefined;
  const ns = timestampToNanoseconds(time);
  if (ns === undefined) throw invalid("INVALID_SIZE", `\`${what}\` is no time: nanos are 0 to 999999999`);
  return ns;
}
