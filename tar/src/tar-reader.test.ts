import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ByteSource } from "./byte-source.js";
import { file, folder, gnuLong, pax, symlink } from "./members.js";
import type { TarEntry } from "./tar-entry.js";
import { TAR_LIMITS, TarReader } from "./tar-reader.js";
import { encodeMember, encodeTar, type TarMember } from "./tar-writer.js";
import { scratch } from "./testing/scratch.js";

/** A reader over chunks of `chunkBytes`. */
function tarReader(tar: Buffer, chunkBytes = 1000): TarReader {
  async function* chunks() {
    for (let at = 0; at < tar.length; at += chunkBytes) yield tar.subarray(at, at + chunkBytes);
  }
  return new TarReader(new ByteSource(chunks()));
}

type Read = TarEntry & { content: string };

async function readAll(tar: Buffer, chunkBytes = 1000): Promise<Read[]> {
  const reader = tarReader(tar, chunkBytes);
  const entries: Read[] = [];
  for (let entry = await reader.next(); entry !== undefined; entry = await reader.next()) {
    const content: Buffer[] = [];
    for await (const chunk of reader.content()) content.push(Buffer.from(chunk));
    entries.push({ ...entry, content: Buffer.concat(content).toString("latin1") });
  }
  return entries;
}

const first = async (...members: TarMember[]) => (await readAll(encodeTar(members)))[0];

describe("TarReader", () => {
  it("reads what a header says", async () => {
    expect(await first(file("a/b", "hello", { mode: 0o104755, uid: 1, gid: 2, mtime: 3 }))).toEqual({
      kind: "file",
      name: "a/b",
      linkName: "",
      mode: 0o4755,
      uid: 1,
      gid: 2,
      size: 5,
      sparse: undefined,
      mtime: { seconds: 3, nanoseconds: 0 },
      major: 0,
      minor: 0,
      xattrs: new Map(),
      content: "hello",
    });
  });

  it("lets extended headers change it, bytes staying bytes", async () => {
    const entry = await first(
      pax({
        path: "n\xe9\xff",
        uid: "4000000000",
        mtime: "-1.5",
        "SCHILY.xattr.security.capability": Buffer.from([1, 0, 255, 10]),
      }),
      file("short", "x"),
    );
    expect(entry).toMatchObject({ name: "n\xe9\xff", uid: 4_000_000_000, mtime: { seconds: -2, nanoseconds: 5e8 } });
    expect(entry?.xattrs.get("security.capability")).toEqual(Buffer.from([1, 0, 255, 10]));
  });

  it("takes a size from an extended header", async () => {
    const members = [pax({ size: "3" }), { name: "f", typeFlag: "0", content: Buffer.from("abc"), size: 0 }, file("g")];
    expect(await readAll(encodeTar(members))).toMatchObject([{ name: "f", content: "abc" }, { name: "g" }]);
  });

  it("takes GNU's long names, and forgets them after one entry", async () => {
    const long = "x".repeat(300);
    const read = await readAll(
      encodeTar([gnuLong("L", long), gnuLong("K", `${long}y`), symlink("s", "t"), file("next")]),
    );
    expect(read).toMatchObject([
      { name: long, linkName: `${long}y` },
      { name: "next", linkName: "" },
    ]);
  });

  it("passes over global headers, and over content that nobody reads", async () => {
    const reader = tarReader(encodeTar([pax({ comment: "git" }, "g"), file("a", "z".repeat(5000)), file("b")]));
    expect([(await reader.next())?.name, (await reader.next())?.name, await reader.next()]).toEqual([
      "a",
      "b",
      undefined,
    ]);
  });

  it("takes a name with a slash at its end for a folder, and no content for anything but files", async () => {
    const read = await readAll(encodeTar([file("old/"), { ...symlink("s", "t"), size: 700 }, file("f", "1")]));
    expect(read.map(({ kind, content }) => [kind, content])).toEqual([
      ["directory", ""],
      ["symlink", ""],
      ["file", "1"],
    ]);
  });

  it("ends where the stream does, with or without blocks of zeros", async () => {
    expect(await readAll(encodeMember(file("a", "b")))).toHaveLength(1);
    expect(await readAll(Buffer.alloc(0))).toEqual([]);
    expect(await readAll(Buffer.concat([encodeTar([file("a")]), Buffer.alloc(8192, 7)]))).toHaveLength(1);
  });

  const tooLong = { name: "x", typeFlag: "x", content: Buffer.alloc(TAR_LIMITS.extendedHeaderBytes + 1) };
  const edit = (change: (header: Buffer) => void) => {
    const member = encodeMember(file("f", "content"));
    change(member);
    return member;
  };
  it.each<[string, Buffer, RegExp]>([
    ["a wrong checksum", edit((header) => header.write("X", 0)), /checksum/],
    ["no tar at all", Buffer.alloc(1024, "text\n"), /not a tar|not a number/],
    ["a number that is none", edit((header) => header.write("12x45", 124)), /not a number|checksum/],
    ["an end within a header", encodeMember(file("f")).subarray(0, 100), /ends too early/],
    ["an end within content", encodeMember(file("f", "x".repeat(600))).subarray(0, 600), /ends too early/],
    ["an end after an extended header", encodeMember(pax({ path: "x" })), /ends after an extended header/],
    ["a long extended header", encodeTar([tooLong, file("f")]), /too much/],
    [
      "a record without length",
      encodeTar([{ name: "x", typeFlag: "x", content: Buffer.from("path=x\n") }, file("f")]),
      /length/,
    ],
    [
      "a record too long",
      encodeTar([{ name: "x", typeFlag: "x", content: Buffer.from("99 path=x\n") }, file("f")]),
      /malformed/,
    ],
    [
      "a record without key",
      encodeTar([{ name: "x", typeFlag: "x", content: Buffer.from("5 =x\n") }, file("f")]),
      /malformed/,
    ],
    ["a name with NUL", encodeTar([pax({ path: "a\0b" }), file("f")]), /NUL/],
    ["a size that is none", encodeTar([pax({ size: "1e3" }), file("f")]), /size is not a number/],
    ["a huge size", encodeTar([pax({ size: "9999999999999999" }), file("f")]), /size is not a number/],
    ["a time that is none", encodeTar([pax({ mtime: "now" }), file("f")]), /not a time/],
    ["a pax sparse file", encodeTar([pax({ "GNU.sparse.major": "1" }), file("f")]), /sparse/],
    ["a GNU sparse file", encodeTar([file("f", "", { typeFlag: "S" })]), /kind/],
    ["a continued file", encodeTar([file("f", "", { typeFlag: "M" })]), /kind/],
    ["an owner out of range", encodeTar([pax({ uid: "4294967295" }), file("f")]), /out of range/],
  ])("refuses %s", async (_, tar, message) => {
    await expect(readAll(tar)).rejects.toMatchObject({
      name: "TarError",
      message: expect.stringMatching(message),
    });
  });

  it("reads base-256 numbers, negative times too", async () => {
    const member = encodeMember(file("f"));
    member.write("\x80\0\0\0\xff\xff\xff\xf0", 108, "latin1"); // uid
    member.write("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe", 136, "latin1"); // mtime
    member.fill(" ", 148, 156);
    const sum = member.subarray(0, 512).reduce((total, byte) => total + byte, 0);
    member.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
    expect((await readAll(member))[0]).toMatchObject({ uid: 0xffff_fff0, mtime: { seconds: -2 } });
  });

  it("gives what was written, however it is cut into chunks", async () => {
    const bytes = (maxLength: number) =>
      fc
        .uint8Array({ minLength: 1, maxLength })
        .map((array) => Buffer.from(array.map((byte) => byte || 1)).toString("latin1"));
    const entry = fc.record({
      path: bytes(300),
      content: fc.uint8Array({ maxLength: 3000 }),
      mode: fc.nat(0o7777),
      value: fc.uint8Array({ minLength: 1, maxLength: 50 }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(entry, { maxLength: 6 }), fc.integer({ min: 1, max: 4000 }), async (entries, chunk) => {
        const members = entries.flatMap(({ path, content, mode, value }) => [
          pax({ path: `${path}.`, "SCHILY.xattr.user.x": Buffer.from(value) }),
          file("short", Buffer.from(content), { mode }),
        ]);
        const read = await readAll(encodeTar(members), chunk);
        expect(
          read.map(({ name, content, mode, xattrs }) => ({ name, content, mode, value: xattrs.get("user.x") })),
        ).toEqual(
          entries.map(({ path, content, mode, value }) => ({
            name: `${path}.`,
            content: Buffer.from(content).toString("latin1"),
            mode,
            value: Buffer.from(value),
          })),
        );
      }),
    );
  });

  it("answers any damage with a refusal or an entry, and nothing else", async () => {
    const whole = encodeTar([
      pax({ path: "long", "SCHILY.xattr.user.a": "b" }),
      file("f", "content"),
      gnuLong("L", "n"),
      folder("d"),
    ]);
    const damage = fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { minLength: 1, maxLength: 20 });
    await fc.assert(
      fc.asyncProperty(damage, fc.nat(whole.length), async (bytes, end) => {
        const damaged = Buffer.from(whole.subarray(0, end));
        for (const [at, byte] of bytes) if (at < end) damaged[at] = byte;
        await readAll(damaged).catch((error: unknown) => expect(error).toMatchObject({ name: "TarError" }));
      }),
      { numRuns: 500 },
    );
  });

  it.each(["gnu", "pax", "ustar", "v7", "oldgnu"])("reads GNU tar's %s format", async (format) => {
    const directory = scratch();
    const long = format === "v7" || format === "ustar" ? "n".repeat(60) : "n".repeat(200);
    mkdirSync(join(directory, "in", long), { recursive: true });
    writeFileSync(join(directory, "in", long, "f"), "content");
    symlinkSync("some/where", join(directory, "in", "s"));
    execFileSync("tar", ["-cf", "t.tar", `--format=${format}`, "-C", "in", "."], { cwd: directory });
    const read = await readAll(readFileSync(join(directory, "t.tar")));
    expect(read.find(({ name }) => name === `./${long}/f`)).toMatchObject({ kind: "file", content: "content" });
    expect(read.find(({ name }) => name === "./s")).toMatchObject({ kind: "symlink", linkName: "some/where" });
    expect(read.find(({ name }) => name.startsWith(`./${long}`))).toMatchObject({ kind: "directory" });
  });

  it.each([
    ["gnu", ""],
    ["pax", "--sparse-version=0.0"],
    ["pax", "--sparse-version=0.1"],
  ])("refuses GNU tar's sparse files in %s format %s", async (format, version) => {
    const directory = scratch();
    writeFileSync(join(directory, "holes"), "x");
    truncateSync(join(directory, "holes"), 1 << 24);
    const args = ["-cSf", "t.tar", `--format=${format}`, ...(version ? [version] : []), "holes"];
    execFileSync("tar", args, { cwd: directory });
    await expect(readAll(readFileSync(join(directory, "t.tar")))).rejects.toMatchObject({ name: "TarError" });
  });
});
