/** The streams that are kept, in the order of their numbers on disk. */
export const STREAMS = ["stdout", "stderr", "agent"] as const;
export type LogStream = (typeof STREAMS)[number];

/**
 * A piece of a stream. `from` and `to` are positions in the stream: bytes for output (then `to` is `from` plus the data's
 * length), record numbers for the agent's log. Positions that no record covers were lost. A record without data tells a
 * position only.
 */
export interface LogRecord {
  /** Milliseconds since 1970, by the host's clock. */
  time: number;
  stream: LogStream;
  from: number;
  to: number;
  data: Uint8Array;
}

/** Most data bytes in a record; the agent sends at most 256 KiB at a time. */
export const MAX_RECORD_BYTES = 4 * 1024 * 1024;

// magic u8 | stream u8 | zero u16 | data length u32 | time f64 | from u64 | to u64 | data; big endian
const MAGIC = 0x5a;
export const HEADER_BYTES = 32;

/** A record as it stands in a log file. */
export function encodeLogRecord(record: LogRecord): Buffer {
  const bytes = Buffer.allocUnsafe(HEADER_BYTES + record.data.length);
  bytes.writeUInt8(MAGIC, 0);
  bytes.writeUInt8(STREAMS.indexOf(record.stream), 1);
  bytes.writeUInt16BE(0, 2);
  bytes.writeUInt32BE(record.data.length, 4);
  bytes.writeDoubleBE(record.time, 8);
  bytes.writeBigUInt64BE(BigInt(record.from), 16);
  bytes.writeBigUInt64BE(BigInt(record.to), 24);
  bytes.set(record.data, HEADER_BYTES);
  return bytes;
}

/** The header's record, without its data, and the data's length; undefined when the bytes are no header. */
export function decodeLogHeader(bytes: Buffer): { record: Omit<LogRecord, "data">; length: number } | undefined {
  if (bytes.length < HEADER_BYTES || bytes.readUInt8(0) !== MAGIC || bytes.readUInt16BE(2) !== 0) return undefined;
  const stream = STREAMS[bytes.readUInt8(1)];
  const length = bytes.readUInt32BE(4);
  const time = bytes.readDoubleBE(8);
  const from = Number(bytes.readBigUInt64BE(16));
  const to = Number(bytes.readBigUInt64BE(24));
  const valid = length <= MAX_RECORD_BYTES && Number.isFinite(time) && Number.isSafeInteger(to) && from <= to;
  return stream && valid ? { record: { time, stream, from, to }, length } : undefined;
}
