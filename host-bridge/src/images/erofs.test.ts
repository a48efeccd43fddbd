import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { encodeTar, type TarMember } from "./tar-writer.js";
import { canMount, diskOf, look } from "./testing/disk.js";
import { scratch } from "./testing/scratch.js";

describe.skipIf(!canMount)("an erofs that we write, mounted by the kernel", () => {
  it("has every kind of node, as the layer said", { timeout: 60_000 }, async () => {
    const content = Buffer.alloc(10_000, "abc");
    const members: TarMember[] = [
      { name: "etc/", typeFlag: "5", mode: 0o2755, uid: 1, gid: 2, mtime: 1_600_000_000 },
      { name: "etc/file", typeFlag: "0", mode: 0o4755, uid: 70_000, gid: 80_000, mtime: 5, content },
      { name: "etc/empty", typeFlag: "0" },
      { name: "etc/hard", typeFlag: "1", linkName: "etc/file" },
      { name: "etc/soft", typeFlag: "2", linkName: "../../out/there", mode: 0o777 },
      { name: "dev/null", typeFlag: "3", mode: 0o666, major: 1, minor: 3 },
      { name: "dev/big", typeFlag: "4", mode: 0o660, major: 259, minor: 70_000 },
      { name: "dev/pipe", typeFlag: "6", mode: 0o600 },
    ];
    const seen = look(await diskOf(scratch(), [encodeTar(members)]));
    expect(seen).toMatchInlineSnapshot(`
      {
        "": {
          "content": "",
          "gid": 0,
          "inode": 2,
          "kind": "directory",
          "links": 4,
          "mode": 493,
          "mtime": "0",
          "rdev": "0:0",
          "size": 57,
          "uid": 0,
          "xattrs": {},
        },
        "dev": {
          "content": "",
          "gid": 0,
          "inode": 6,
          "kind": "directory",
          "links": 2,
          "mode": 493,
          "mtime": "0",
          "rdev": "0:0",
          "size": 74,
          "uid": 0,
          "xattrs": {},
        },
        "dev/big": {
          "content": "",
          "gid": 0,
          "inode": 16,
          "kind": "block",
          "links": 1,
          "mode": 432,
          "mtime": "0",
          "rdev": "259:70000",
          "size": 0,
          "uid": 0,
          "xattrs": {},
        },
        "dev/null": {
          "content": "",
          "gid": 0,
          "inode": 18,
          "kind": "character",
          "links": 1,
          "mode": 438,
          "mtime": "0",
          "rdev": "1:3",
          "size": 0,
          "uid": 0,
          "xattrs": {},
        },
        "dev/pipe": {
          "content": "",
          "gid": 0,
          "inode": 20,
          "kind": "fifo",
          "links": 1,
          "mode": 384,
          "mtime": "0",
          "rdev": "0:0",
          "size": 0,
          "uid": 0,
          "xattrs": {},
        },
        "etc": {
          "content": "",
          "gid": 2,
          "inode": 11,
          "kind": "directory",
          "links": 2,
          "mode": 1517,
          "mtime": "1600000000000000000",
          "rdev": "0:0",
          "size": 92,
          "uid": 1,
          "xattrs": {},
        },
        "etc/empty": {
          "content": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
          "gid": 0,
          "inode": 22,
          "kind": "file",
          "links": 1,
          "mode": 420,
          "mtime": "0",
          "rdev": "0:0",
          "size": 0,
          "uid": 0,
          "xattrs": {},
        },
        "etc/file": {
          "content": "e128b361662aa4b565b1bb170e9fe07dfb1bb9366ff274409a415d17af7bac4f",
          "gid": 80000,
          "inode": 24,
          "kind": "file",
          "links": 2,
          "mode": 2541,
          "mtime": "5000000000",
          "rdev": "0:0",
          "size": 10000,
          "uid": 70000,
          "xattrs": {},
        },
        "etc/hard": {
          "content": "e128b361662aa4b565b1bb170e9fe07dfb1bb9366ff274409a415d17af7bac4f",
          "gid": 80000,
          "inode": 24,
          "kind": "file",
          "links": 2,
          "mode": 2541,
          "mtime": "5000000000",
          "rdev": "0:0",
          "size": 10000,
          "uid": 70000,
          "xattrs": {},
        },
        "etc/soft": {
          "content": "../../out/there",
          "gid": 0,
          "inode": 26,
          "kind": "symlink",
          "links": 1,
          "mode": 511,
          "mtime": "0",
          "rdev": "0:0",
          "size": 15,
          "uid": 0,
          "xattrs": {},
        },
      }
    `);
  });

  it("finds all of a large folder", { timeout: 60_000 }, async () => {
    const names = Array.from({ length: 5000 }, (_, index) => `d/${"x".repeat(index % 80)}${index}`);
    names.push("d/-first", "d/!before-the-dot");
    const seen = look(await diskOf(scratch(), [encodeTar(names.map((name) => ({ name, typeFlag: "0" })))]));
    expect(Object.keys(seen).sort()).toEqual(["", "d", ...names].sort());
  });
});

it("writes the same bytes again", async () => {
  const layers = [encodeTar([{ name: "a/b", typeFlag: "0", content: Buffer.from("x") }])];
  expect(readFileSync(await diskOf(scratch(), layers))).toEqual(readFileSync(await diskOf(scratch(), layers)));
});
