import { close, openSync, read } from "node:fs";
import { promisify } from "node:util";
import type { LogFile } from "./log-file.js";
import { decodeLogHeader, HEADER_BYTES, type LogRecord, type LogStream } from "./log-record.js";

const READ_BYTES = 64 * 1024;
const [closeFd, readFd] = [promisify(close), promisify(read)];

/** A record that was read, and what is missing before it. */
export interface ReadRecord extends LogRecord {
  /** Positions of its stream that are lost between the record before and this one. */
  gap: number;
}

/**
 * The whole records of a log file from byte `start`, each with the place where it ends. Stops before a record that is not
 * whole (it may be being written). A file that is not there has none.
 */
export async function* readRecords(path: string, start = 0): AsyncGenerator<{ record: LogRecord; end: number }> {
  const fd = openIfThere(path);
  if (fd === undefined) return;
  try {
    yield* recordsOf(fd, start);
  } finally {
    await closeFd(fd);
  }
}

function openIfThere(path: string): number | undefined {
  try {
    return openSync(path, "r");
  } catch (thrown) {
    if (thrown instanceof Error && "code" in thrown && thrown.code === "ENOENT") return undefined;
    throw thrown;
  }
}

async function* recordsOf(fd: number, start: number): AsyncGenerator<{ record: LogRecord; end: number }> {
  let at = start;
  let buffered = Buffer.alloc(0);
  /** Makes `buffered` hold at least `length` bytes from `at`, unless the file ends before. */
  const fill = async (length: number): Promise<boolean> => {
    while (buffered.length < length) {
      const more = Buffer.allocUnsafe(Math.max(READ_BYTES, length - buffered.length));
      const { bytesRead } = await readFd(fd, more, 0, more.length, at + buffered.length);
      if (bytesRead === 0) return false;
      buffered = Buffer.concat([buffered, more.subarray(0, bytesRead)]);
    }
    return true;
  };
  while (await fill(HEADER_BYTES)) {
    const header = decodeLogHeader(buffered);
    if (!header || !(await fill(HEADER_BYTES + header.length))) return;
    const data = Buffer.from(buffered.subarray(HEADER_BYTES, HEADER_BYTES + header.length));
    at += HEADER_BYTES + header.length;
    buffered = buffered.subarray(HEADER_BYTES + header.length);
    yield { record: { ...header.record, data }, end: at };
  }
}

/** How to read a log. */
export interface ReadOptions {
  /** Begin with the last so many lines; everything when absent. */
  tail?: number;
  /** The log that is still written to: wait for more until it is complete. */
  live?: LogFile;
  signal: AbortSignal;
}

/** Reads the log at `path` (its two files, then what comes when `live`), and says what is missing. */
export async function* readLog(path: string, options: ReadOptions): AsyncGenerator<ReadRecord> {
  const expected = new Map<LogStream, number>();
  let skip = options.tail === undefined ? 0 : Math.max(0, (await countLines(path)) - options.tail);
  const whole = options.tail === undefined;
  for await (const record of followRecords(path, options)) {
    const cut = skip > 0 ? skipLines(record.data, skip) : { bytes: 0, lines: 0 };
    skip -= cut.lines;
    const before = expected.get(record.stream) ?? (whole ? 0 : record.from);
    expected.set(record.stream, Math.max(before, record.to));
    const gap = Math.max(0, record.from - before);
    const data = record.data.subarray(cut.bytes);
    if (data.length > 0 || (gap > 0 && skip === 0)) yield { ...record, from: record.from + cut.bytes, data, gap };
  }
}

async function* followRecords(path: string, options: ReadOptions): AsyncGenerator<LogRecord> {
  const { live, signal } = options;
  // Opened together, so that no change of files comes between.
  let generation = live?.generation ?? 0;
  const old = openIfThere(`${path}.1`);
  let fd = openIfThere(path);
  try {
    if (old !== undefined) for await (const { record } of recordsOf(old, 0)) yield record;
    while (fd !== undefined && !signal.aborted) {
      yield* recordsUntilRotated(fd, generation, options);
      if (!live || live.generation === generation) return;
      await closeFd(fd);
      // A reader that was too slow finds no file of the next generation: it goes on with the oldest that is left.
      generation = Math.max(generation + 1, live.generation - 1);
      fd = openIfThere(generation === live.generation ? path : `${path}.1`);
    }
  } finally {
    for (const left of [old, fd]) if (left !== undefined) await closeFd(left);
  }
}

/** The records of a file, and those that are added to it, until it is complete or another one has taken its place. */
async function* recordsUntilRotated(fd: number, generation: number, options: ReadOptions): AsyncGenerator<LogRecord> {
  const { live, signal } = options;
  for (let end = 0; ; ) {
    // Asked before the file is read: what is written later is seen in the next round.
    const last = !live || live.complete || live.generation !== generation;
    const changed = live?.changed(signal);
    for await (const next of recordsOf(fd, end)) {
      if (signal.aborted) return;
      end = next.end;
      yield next.record;
    }
    if (last || signal.aborted) return;
    await changed;
  }
}

/** Lines in the log's files; a last one without an end counts too. */
async function countLines(path: string): Promise<number> {
  let lines = 0;
  let last = 0x0a;
  for (const file of [`${path}.1`, path]) {
    for await (const { record } of readRecords(file)) {
      for (const byte of record.data) if (byte === 0x0a) lines += 1;
      last = record.data.at(-1) ?? last;
    }
  }
  return last === 0x0a ? lines : lines + 1;
}

/** How many bytes at the beginning of `data` belong to its first `lines` lines, and how many of these end in it. */
function skipLines(data: Uint8Array, lines: number): { bytes: number; lines: number } {
  let skipped = 0;
  for (let at = 0; at < data.length; at++) {
    if (data[at] === 0x0a && ++skipped === lines) return { bytes: at + 1, lines: skipped };
  }
  return { bytes: data.length, lines: skipped };
}
