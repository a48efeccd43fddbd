import { appendFile, mkdtemp, rm, stat, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MNT_DETACH, mount, unmount } from "@zone/native";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { LogFile } from "./log-file.js";
import { type ReadOptions, type ReadRecord, readLog } from "./log-reader.js";
import { decodeLogHeader, encodeLogRecord, HEADER_BYTES, type LogRecord, type LogStream } from "./log-record.js";

let directory: string;
let path: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "zone-log-"));
  path = join(directory, "main.log");
});
afterEach(() => rm(directory, { recursive: true, force: true }));

const never = new AbortController().signal;

async function add(log: LogFile, stream: LogStream, text: string, from = log.position(stream)): Promise<void> {
  const data = Buffer.from(text);
  await log.append({ time: 1, stream, from, to: from + data.length, data });
}

async function read(options: Partial<ReadOptions> = {}): Promise<ReadRecord[]> {
  const records: ReadRecord[] = [];
  for await (const record of readLog(path, { signal: never, ...options })) records.push(record);
  return records;
}

const texts = (records: ReadRecord[]) => records.map((record) => Buffer.from(record.data).toString());

describe("LogFile", () => {
  it("gives back what was added, in order", async () => {
    const log = await LogFile.open(path, 1 << 20);
    await add(log, "stdout", "a\n");
    await add(log, "stderr", "b\n");
    await log.append({ time: 2.5, stream: "stdout", from: 2, to: 3, data: Buffer.from([0xff]) });
    await log.finish();
    expect(await read()).toEqual([
      { time: 1, stream: "stdout", from: 0, to: 2, data: Buffer.from("a\n"), gap: 0 },
      { time: 1, stream: "stderr", from: 0, to: 2, data: Buffer.from("b\n"), gap: 0 },
      { time: 2.5, stream: "stdout", from: 2, to: 3, data: Buffer.from([0xff]), gap: 0 },
    ]);
    await expect(add(log, "stdout", "late")).rejects.toThrow(/complete/);
  });

  it("knows after a restart where each stream continues", async () => {
    const first = await LogFile.open(path, 1 << 20);
    await add(first, "stdout", "12345");
    await add(first, "stderr", "678");
    await first.finish();
    const second = await LogFile.open(path, 1 << 20);
    expect([second.position("stdout"), second.position("stderr"), second.position("agent")]).toEqual([5, 3, 0]);
    await second.finish();
  });

  it.each([1, HEADER_BYTES - 1, HEADER_BYTES, HEADER_BYTES + 3])(
    "cuts off a last record of which %i bytes were written",
    async (bytes) => {
      const log = await LogFile.open(path, 1 << 20);
      await add(log, "stdout", "whole");
      await log.finish();
      const { size } = await stat(path);
      await appendFile(
        path,
        encodeLogRecord({ time: 1, stream: "stdout", from: 5, to: 10, data: Buffer.from("brokn") }).subarray(0, bytes),
      );
      const again = await LogFile.open(path, 1 << 20);
      expect(again.position("stdout")).toBe(5);
      expect((await stat(path)).size).toBe(size);
      await add(again, "stdout", "more");
      await again.finish();
      expect(texts(await read())).toEqual(["whole", "more"]);
    },
  );

  it("keeps one old file, and says what was in those before", async () => {
    const log = await LogFile.open(path, 4 * HEADER_BYTES);
    await add(log, "stderr", "seldom");
    for (let n = 0; n < 10; n++) await add(log, "stdout", `line ${n}\n`);
    const records = await read();
    expect(texts(records).join("")).toBe("line 8\nline 9\n");
    expect(records.slice(0, 2)).toMatchObject([
      { stream: "stderr", gap: 6 },
      { stream: "stdout", gap: 56 },
    ]);
    await log.finish();
    // Both positions are in the newest file, though nothing has been said on stderr since.
    const again = await LogFile.open(path, 4 * HEADER_BYTES);
    expect([again.position("stdout"), again.position("stderr")]).toEqual([70, 6]);
    await again.finish();
  });

  it("finds the positions in the old file when a crash left the new one empty", async () => {
    const log = await LogFile.open(path, HEADER_BYTES + 8);
    await add(log, "stdout", "12345678");
    await add(log, "stdout", "9");
    await log.finish();
    await truncate(path, 0);
    const again = await LogFile.open(path, HEADER_BYTES + 8);
    expect(again.position("stdout")).toBe(8);
    await again.finish();
  });

  it("shows gaps", async () => {
    const log = await LogFile.open(path, 1 << 20);
    await add(log, "stdout", "a");
    await add(log, "stdout", "b", 11);
    await log.append({ time: 1, stream: "stderr", from: 5, to: 5, data: Buffer.alloc(0) });
    await log.finish();
    expect((await read()).map(({ stream, gap }) => [stream, gap])).toEqual([
      ["stdout", 0],
      ["stdout", 10],
      ["stderr", 5],
    ]);
  });
});

describe("a full disk", () => {
  const canMount = process.getuid?.() === 0;

  it.runIf(canMount)("right when the files change takes no stream's position", async () => {
    mount("tmpfs", directory, "tmpfs", 0, "size=128k");
    try {
      const log = await LogFile.open(path, 8 * 1024);
      await add(log, "stderr", "once");
      while ((await stat(path)).size < 7 * 1024) await add(log, "stdout", "x".repeat(500));
      await writeFile(join(directory, "ballast"), Buffer.alloc(256 * 1024)).catch(() => {});
      await expect(add(log, "stdout", "y".repeat(2000))).rejects.toMatchObject({ code: "ENOSPC" });
      const positions = [log.position("stdout"), log.position("stderr")];
      await log.finish();
      await rm(join(directory, "ballast"));
      const again = await LogFile.open(path, 8 * 1024);
      expect([again.position("stdout"), again.position("stderr")]).toEqual(positions);
      await add(again, "stdout", "y".repeat(2000));
      await again.finish();
      const last = await LogFile.open(path, 8 * 1024);
      expect([last.position("stdout"), last.position("stderr")]).toEqual([(positions[0] ?? 0) + 2000, 4]);
      await last.finish();
    } finally {
      unmount(directory, MNT_DETACH);
    }
  });
});

describe("tail", () => {
  const cases: [number, string[]][] = [
    [0, []],
    [1, ["unfinished"]],
    [2, ["three\n", "unfinished"]],
    [3, ["two\n", "three\n", "unfinished"]],
    [4, ["one\ntwo\n", "three\n", "unfinished"]],
    [99, ["one\ntwo\n", "three\n", "unfinished"]],
  ];
  it.each(cases)("of %i lines", async (tail, expected) => {
    const log = await LogFile.open(path, 1 << 20);
    await add(log, "stdout", "one\ntwo\n");
    await add(log, "stderr", "three\n");
    await add(log, "stdout", "unfinished");
    await log.finish();
    const records = await read({ tail });
    expect(texts(records)).toEqual(expected);
    expect(records.every((record) => record.gap === 0)).toBe(true);
  });
});

describe("following", () => {
  it("gives everything through many changes of files, to a reader that keeps up", async () => {
    const log = await LogFile.open(path, 200);
    const seen: string[] = [];
    let at = 0;
    const reading = (async () => {
      for await (const record of readLog(path, { live: log, signal: never })) {
        expect(record.gap).toBe(0);
        seen.push(...texts([record]));
        at = record.to;
      }
    })();
    let written = 0;
    for (let n = 0; n < 200; n++) {
      await add(log, "stdout", `${n}\n`);
      written = log.position("stdout");
      while (at < written) await new Promise((resolve) => setImmediate(resolve));
    }
    await log.finish();
    await reading;
    expect(seen.join("")).toBe(Array.from({ length: 200 }, (_, n) => `${n}\n`).join(""));
  }, 60_000);

  it("tells a slow reader exactly what it missed", async () => {
    const log = await LogFile.open(path, 200);
    await add(log, "stdout", "first\n");
    const reader = readLog(path, { live: log, signal: never });
    expect((await reader.next()).value).toMatchObject({ from: 0, gap: 0 });
    for (let n = 0; n < 50; n++) await add(log, "stdout", "0123456789\n");
    await log.finish();
    let total = 6;
    for await (const record of reader) total += record.gap + record.data.length;
    expect(total).toBe(log.position("stdout"));
  });

  it("ends when it is cancelled", async () => {
    const log = await LogFile.open(path, 1 << 20);
    await add(log, "stdout", "a");
    const cancel = new AbortController();
    const reader = readLog(path, { live: log, signal: cancel.signal });
    await reader.next();
    const next = reader.next();
    cancel.abort();
    expect((await next).done).toBe(true);
    await log.finish();
  });
});

describe("a record's header", () => {
  const records = fc.record({
    time: fc.double({ noNaN: true, noDefaultInfinity: true }),
    stream: fc.constantFrom<LogStream>("stdout", "stderr", "agent"),
    from: fc.nat(),
    data: fc.uint8Array({ maxLength: 64 }),
  });
  it("is decoded as it was encoded", () => {
    fc.assert(
      fc.property(records, ({ data, ...rest }) => {
        const record: LogRecord = { ...rest, to: rest.from + data.length, data };
        const { data: _, ...header } = record;
        expect(decodeLogHeader(encodeLogRecord(record))).toEqual({ record: header, length: data.length });
      }),
    );
  });

  it("is never made of other bytes without saying so", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
        const header = decodeLogHeader(Buffer.from(bytes));
        if (header) expect(header.record.from).toBeLessThanOrEqual(header.record.to);
      }),
    );
  });
});
