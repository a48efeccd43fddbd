import { execFileSync } from "node:child_process";
import { statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ByteSource } from "./byte-source.js";
import { encodeEntry, TAR_END, tarPadding } from "./entry-writer.js";
import type { TarEntry } from "./tar-entry.js";
import { TarReader } from "./tar-reader.js";
import { encodeTar } from "./tar-writer.js";
import { scratch } from "./testing/scratch.js";

type Written = TarEntry & { data: Buffer };

function entry(more: Partial<TarEntry>): TarEntry {
  return {
    ...{ kind: "file", name: "f", linkName: "", mode: 0o644, uid: 0, gid: 0, size: 0, sparse: undefined },
    ...{ mtime: { seconds: 0, nanoseconds: 0 }, major: 0, minor: 0, xattrs: new Map() },
    ...more,
  };
}

function encode(entries: readonly Written[]): Buffer {
  return Buffer.concat([
    ...entries.flatMap((one) => [encodeEntry(one), one.data, tarPadding(one.data.length)]),
    TAR_END,
  ]);
}

async function read(tar: Buffer, chunkBytes: number): Promise<Written[]> {
  async function* chunks() {
    for (let at = 0; at < tar.length; at += chunkBytes) yield tar.subarray(at, at + chunkBytes);
  }
  const reader = new TarReader(new ByteSource(chunks()));
  const entries: Written[] = [];
  for (let one = await reader.next(); one !== undefined; one = await reader.next()) {
    const data: Buffer[] = [];
    let at = -1;
    for await (const { offset, chunk } of reader.pieces()) {
      expect(offset).toBeGreaterThanOrEqual(at);
      at = offset + chunk.length;
      data.push(Buffer.from(chunk));
    }
    entries.push({ ...one, data: Buffer.concat(data) });
  }
  return entries;
}

const name = (maxLength: number) =>
  fc
    .uint8Array({ minLength: 1, maxLength })
    .map((bytes) => `${Buffer.from(bytes.map((byte) => byte || 1)).toString("latin1")}.`);
const time = fc.record({
  seconds: fc.integer({ min: -(2 ** 33), max: 2 ** 34 }),
  nanoseconds: fc.oneof(fc.constant(0), fc.nat(999_999_999)),
});
const common = {
  mode: fc.nat(0o7777),
  uid: fc.oneof(fc.nat(1000), fc.nat(0xffff_fffe)),
  gid: fc.nat(0xffff_fffe),
  mtime: time,
  xattrs: fc.dictionary(fc.stringMatching(/^user\.[a-z]{1,8}$/), fc.uint8Array({ maxLength: 40 }), { maxKeys: 3 }),
};
const file = fc
  .record({ ...common, name: name(300), data: fc.uint8Array({ maxLength: 2000 }) })
  .map((one) => ({ ...one, kind: "file" as const, size: one.data.length, linkName: "", sparse: undefined }));
const sparse = fc
  .record({
    ...{ ...common, name: name(120), end: fc.nat(5000) },
    gaps: fc.array(fc.tuple(fc.nat(2 ** 40), fc.integer({ min: 1, max: 900 })), { maxLength: 60 }),
  })
  .map(({ gaps, end, ...one }) => {
    let at = 0;
    const regions = gaps.map(([gap, length]) => {
      const offset = at + gap;
      at = offset + length;
      return { offset, length };
    });
    const data = Buffer.alloc(
      regions.reduce((sum, { length }) => sum + length, 0),
      7,
    );
    return { ...one, kind: "file" as const, linkName: "", size: at + end, sparse: regions, data };
  });
const link = fc
  .record({ ...common, name: name(150), linkName: name(150), kind: fc.constantFrom("symlink", "hardlink") })
  .map((one) => ({ ...one, size: 0, sparse: undefined, data: Buffer.alloc(0) }));
const folder = fc.record({ ...common, name: name(150) }).map((one) => ({
  ...one,
  kind: "directory" as const,
  linkName: "",
  size: 0,
  sparse: undefined,
  data: Buffer.alloc(0),
}));
const anything = fc.array(fc.oneof(file, sparse, link, folder), { maxLength: 5 }).map((entries) =>
  entries.map(
    ({ xattrs, data, ...one }): Written => ({
      ...{ ...entry(one as Partial<TarEntry>), data: Buffer.from(data) },
      xattrs: new Map(Object.entries(xattrs).map(([key, value]) => [key, Buffer.from(value)])),
    }),
  ),
);

describe("encodeEntry", () => {
  it("writes what the reader reads, sparse files too", async () => {
    await fc.assert(
      fc.asyncProperty(anything, fc.integer({ min: 1, max: 5000 }), async (entries, chunk) => {
        expect(await read(encode(entries), chunk)).toEqual(entries);
      }),
      { numRuns: 300 },
    );
  });

  it("needs no extended header for what ustar can say", () => {
    expect(encodeEntry(entry({ name: "a/b", mode: 0o755, mtime: { seconds: 9, nanoseconds: 0 } }))).toHaveLength(512);
  });

  it("writes what GNU tar unpacks", () => {
    const directory = scratch();
    const long = "long/".repeat(40);
    const entries = [
      { ...entry({ kind: "directory", name: long, mode: 0o700 }), data: Buffer.alloc(0) },
      { ...entry({ name: `${long}ä`, size: 5, mtime: { seconds: -2, nanoseconds: 5e8 } }), data: Buffer.from("hello") },
      {
        ...entry({ name: "holes", size: 1 << 30, sparse: [{ offset: 1 << 20, length: 5 }] }),
        data: Buffer.from("hello"),
      },
    ];
    for (const one of entries) one.name = Buffer.from(one.name).toString("latin1");
    writeFileSync(join(directory, "t.tar"), encode(entries));
    execFileSync("tar", ["-xf", "t.tar"], { cwd: directory });
    expect(statSync(join(directory, long, "ä")).mtimeMs).toBe(-1500);
    const { size, blocks } = statSync(join(directory, "holes"));
    expect([size, blocks < 100]).toEqual([1 << 30, true]);
  });
});

describe("a sparse file's map", () => {
  it("is read as GNU tar writes it", async () => {
    const directory = scratch();
    execFileSync("sh", ["-c", "truncate -s 50M f; printf hello | dd of=f bs=1M seek=20 conv=notrunc 2>/dev/null"], {
      cwd: directory,
    });
    const tar = execFileSync("tar", ["-cSf", "-", "--format=posix", "f"], { cwd: directory });
    const [one] = await read(tar, 700);
    expect(one).toMatchObject({ name: "f", size: 50 << 20 });
    expect(one?.sparse?.[0]?.offset).toBe(20 << 20);
    expect(one?.data.toString("latin1", 0, 5)).toBe("hello");
  });

  const records = {
    "GNU.sparse.major": "1",
    "GNU.sparse.minor": "0",
    "GNU.sparse.name": "f",
    "GNU.sparse.realsize": "9",
  };
  const archive = (map: string, data = "", changes: Record<string, string> = {}) => {
    const { pax, file } = {
      pax: paxOf({ ...records, ...changes }),
      file: Buffer.concat([padded(map), Buffer.from(data)]),
    };
    return encodeTar([pax, { name: "f", typeFlag: "0", content: file }]);
  };
  it.each<[string, Buffer, RegExp]>([
    ["regions that overlap", archive("2\n0\n4\n2\n4\n", "12345678"), /not in order/],
    ["a region beyond the end", archive("1\n8\n2\n", "12"), /leaves the file/],
    ["less data than regions", archive("1\n0\n4\n", "12"), /do not fit/],
    ["more data than regions", archive("1\n0\n4\n", "12345678"), /do not fit/],
    ["a count that is none", archive("x\n"), /no number/],
    ["a number beyond 2^53", archive("1\n9999999999999999\n1\n"), /no number/],
    ["an endless count", archive("100001\n"), /too much/],
    ["a map that does not end", archive("3\n0\n1\n"), /broken/],
    ["no map", encodeTar([paxOf(records), { name: "f", typeFlag: "0" }]), /broken/],
    ["no size", archive("0\n", "", { "GNU.sparse.realsize": "" }), /format/],
    ["another version", archive("0\n", "", { "GNU.sparse.minor": "1" }), /format/],
  ])("is refused with %s", async (_, tar, message) => {
    await expect(read(tar, 512)).rejects.toMatchObject({ name: "TarError", message: expect.stringMatching(message) });
  });
});

function paxOf(records: Record<string, string>) {
  const lines = Object.entries(records).map(([key, value]) => {
    const rest = ` ${key}=${value}\n`;
    const length = rest.length + 2;
    return `${length}${rest}`;
  });
  return { name: "x", typeFlag: "x", content: Buffer.from(lines.join("")) };
}

function padded(map: string): Buffer {
  return Buffer.concat([Buffer.from(map)], 512);
}
