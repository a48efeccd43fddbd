import type { BigIntStats } from "node:fs";
import { agent, type google, type zone } from "@zone/proto";

export type FileInfo = zone.agent.v1.FileInfo.$Properties;

const NS = 1_000_000_000n;

/** What stat(2) says, as a message. `target` is a symbolic link's. */
export function toFileInfo(name: string, stat: BigIntStats, target: string | undefined): FileInfo {
  return {
    name,
    type: typeOf(stat),
    mode: Number(stat.mode & 0o7777n),
    uid: Number(stat.uid),
    gid: Number(stat.gid),
    size: Number(stat.size),
    modifiedAt: nanosecondsToTimestamp(stat.mtimeNs),
    accessedAt: nanosecondsToTimestamp(stat.atimeNs),
    changedAt: nanosecondsToTimestamp(stat.ctimeNs),
    links: Number(stat.nlink),
    inode: Number(stat.ino),
    allocatedBytes: Number(stat.blocks * 512n),
    ...(target !== undefined && { linkTarget: target }),
  };
}

function typeOf(stat: BigIntStats): zone.agent.v1.FileType {
  const { FileType } = agent;
  if (stat.isFile()) return FileType.FILE_TYPE_REGULAR;
  if (stat.isDirectory()) return FileType.FILE_TYPE_DIRECTORY;
  if (stat.isSymbolicLink()) return FileType.FILE_TYPE_SYMLINK;
  if (stat.isCharacterDevice()) return FileType.FILE_TYPE_CHARACTER_DEVICE;
  if (stat.isBlockDevice()) return FileType.FILE_TYPE_BLOCK_DEVICE;
  if (stat.isFIFO()) return FileType.FILE_TYPE_FIFO;
  return stat.isSocket() ? FileType.FILE_TYPE_SOCKET : FileType.FILE_TYPE_UNSPECIFIED;
}

export function nanosecondsToTimestamp(ns: bigint): google.protobuf.Timestamp.$Properties {
  const nanos = ((ns % NS) + NS) % NS;
  return { seconds: Number((ns - nanos) / NS), nanos: Number(nanos) };
}

/** Nanoseconds since 1970; undefined when absent, or no valid time. */
export function timestampToNanoseconds(time: google.protobuf.Timestamp.$Properties): bigint | undefined {
  const { seconds, nanos } = { seconds: time.seconds ?? 0, nanos: time.nanos ?? 0 };
  if (!Number.isSafeInteger(seconds) || nanos < 0 || nanos > 999_999_999) return undefined;
  return BigInt(seconds) * NS + BigInt(nanos);
}
