/** The messages of zone_init.h, in the machine's byte order (little-endian on all that we run on). */
export const MESSAGE_BYTES = 40;
export const PROTOCOL_VERSION = 2;
export const MAX_KEPT = 3;

export const TYPE = {
  spawn: 1,
  kill: 2,
  dropKept: 3,
  release: 4,
  list: 5,
  powerOff: 6,
  adopt: 7,
  hello: 64,
  spawned: 65,
  spawnFailed: 66,
  exited: 67,
  record: 68,
  listEnd: 69,
  error: 70,
} as const;

export const SPAWN_CGROUP = 1 << 0;
export const SPAWN_KEPT_SHIFT = 8;
export const KILL_GROUP = 1 << 0;
export const RECORD_EXITED = 1 << 0;
export const RECORD_KEPT_SHIFT = 8;

/** enum zi_stage, from 1. */
export const STAGES = [
  "clone",
  "spec",
  "stdio",
  "session",
  "tty",
  "oom",
  "join",
  "mount",
  "hostname",
  "rlimit",
  "cwd",
  "caps",
  "user",
  "nnp",
  "seccomp",
  "reaper",
  "exec",
  "adopt",
] as const;

/** struct zi_msg. */
export interface InitMessage {
  type: number;
  flags: number;
  token: bigint;
  pid: number;
  /** As waitpid(2). */
  status: number;
  arg: number;
  /** Unix nanoseconds. */
  timeNs: bigint;
}

/** A request: what is not given is 0. */
export function encodeMessage(message: Partial<InitMessage> & { type: number }): Buffer {
  const out = Buffer.alloc(MESSAGE_BYTES);
  out.writeUInt32LE(message.type, 0);
  out.writeUInt32LE(message.flags ?? 0, 4);
  out.writeBigUInt64LE(message.token ?? 0n, 8);
  out.writeInt32LE(message.pid ?? 0, 16);
  out.writeBigInt64LE(BigInt(message.arg ?? 0), 24);
  return out;
}

/** Throws RangeError when it is not exactly one message. */
export function decodeMessage(bytes: Buffer): InitMessage {
  if (bytes.length !== MESSAGE_BYTES)
    throw new RangeError(`a message of PID 1 has ${MESSAGE_BYTES} bytes, not ${bytes.length}`);
  return {
    type: bytes.readUInt32LE(0),
    flags: bytes.readUInt32LE(4),
    token: bytes.readBigUInt64LE(8),
    pid: bytes.readInt32LE(16),
    status: bytes.readInt32LE(20),
    arg: Number(bytes.readBigInt64LE(24)),
    timeNs: bytes.readBigInt64LE(32),
  };
}
