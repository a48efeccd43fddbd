import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { encodeTar, file, folder, gnuLong, hardlink, pax, symlink, type TarMember } from "@zone/tar";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { canMount, diskOf, look, type Seen } from "./testing/disk.js";
import { scratch } from "./testing/scratch.js";

const mounted = async (...layers: TarMember[][]) => look(await diskOf(scratch(), layers.map(encodeTar)));
const sha256 = (content: string | Buffer) => createHash("sha256").update(content).digest("hex");

describe.skipIf(!canMount)("an erofs that we write, mounted by the kernel (needs root)", { timeout: 120_000 }, () => {
  it("has every kind of node, as the layer said", async () => {
    const content = Buffer.alloc(10_000, "abc");
    const seen = await mounted([
      folder("etc", { mode: 0o2755, uid: 1, gid: 2, mtime: 1_600_000_000 }),
      pax({ uid: "4000000000", gid: "70000", mtime: "-7.25" }),
      file("etc/file", content, { mode: 0o4755 }),
      file("etc/empty"),
      hardlink("etc/hard", "etc/file"),
      symlink("etc/soft", "../../out/there"),
      file("dev/null", "", { typeFlag: "3", mode: 0o666, major: 1, minor: 3 }),
      file("dev/big", "", { typeFlag: "4", mode: 0o660, major: 259, minor: 70_000 }),
      file("dev/pipe", "", { typeFlag: "6", mode: 0o600 }),
    ]);
    expect(seen[""]).toMatchObject({ kind: "directory", mode: 0o755, links: 4 });
    expect(seen.etc).toMatchObject({ mode: 0o2755, uid: 1, gid: 2, links: 2, mtime: "1600000000000000000" });
    const expected = {
      kind: "file",
      mode: 0o4755,
      uid: 4e9,
      gid: 70_000,
      links: 2,
      size: 10_000,
      content: sha256(content),
    };
    expect(seen["etc/file"]).toMatchObject({ ...expected, mtime: "-7250000000" });
    expect(seen["etc/hard"]).toEqual(seen["etc/file"]);
    expect(seen["etc/empty"]).toMatchObject({ kind: "file", size: 0, links: 1, content: sha256("") });
    expect(seen["etc/soft"]).toMatchObject({ kind: "symlink", content: "../../out/there" });
    expect(seen["dev/null"]).toMatchObject({ kind: "character", rdev: "1:3", mode: 0o666 });
    expect(seen["dev/big"]).toMatchObject({ kind: "block", rdev: "259:70000" });
    expect(seen["dev/pipe"]).toMatchObject({ kind: "fifo", mode: 0o600 });
  });

  it("keeps attributes: binary, many, larger than a block, of every prefix", async () => {
    const capability = Buffer.from("0100000200040000000000000000000000000000", "hex"); // cap_net_bind_service=ep
    const acl = Buffer.from("0200000001000600ffffffff04000400ffffffff20000400ffffffff", "hex");
    const attributes: Record<string, Buffer> = {
      "security.capability": capability,
      "system.posix_acl_access": acl,
      "trusted.x": Buffer.from([0]),
      "user.large": Buffer.alloc(60_000, 7),
      "user.empty": Buffer.alloc(0),
      [`user.${"n".repeat(250)}`]: Buffer.from("long"),
    };
    const records = Object.fromEntries(
      Object.entries(attributes).map(([name, value]) => [`SCHILY.xattr.${name}`, value]),
    );
    const seen = await mounted([
      pax(records),
      file("f", "x", { mode: 0o644 }),
      pax({ "SCHILY.xattr.user.d": "1" }),
      folder("d"),
    ]);
    const expected = Object.entries(attributes).map(([name, value]) => [name, value.toString("hex")]);
    expect(seen.f?.xattrs).toEqual(Object.fromEntries(expected));
    expect(seen.d?.xattrs).toEqual({ "user.d": "31" });
  });

  it("has long links, names in any bytes, and an empty tree", async () => {
    const lengths = [100, 3000, 4031, 4032, 4033, 4095];
    const links = lengths.flatMap((length) => [gnuLong("K", "t".repeat(length)), symlink(`s${length}`, "")]);
    const seen = await mounted([
      ...links,
      pax({ path: "caf\xe9 \xff\n" }),
      file("f"),
      pax({ path: "n".repeat(255) }),
      file("f"),
    ]);
    expect(lengths.map((length) => seen[`s${length}`]?.content.length)).toEqual(lengths);
    expect(seen["caf\xe9 \xff\n"]).toMatchObject({ kind: "file" });
    expect(seen["n".repeat(255)]).toMatchObject({ kind: "file" });
    expect(Object.keys(await mounted())).toEqual([""]);
  });

  it.each([1, 100, 335, 336, 337, 5000])("finds all of a folder with %i names", async (count) => {
    const names = Array.from({ length: count }, (_, index) => `d/${"x".repeat(index % 80)}${index}`);
    names.push("d/-first", "d/!before-the-dots", "d/zz");
    const seen = await mounted(names.map((name) => file(name)));
    expect(Object.keys(seen).sort()).toEqual(["", "d", ...names].sort());
  });

  it("is what the layers said, for any layers", async () => {
    const leaf = fc.record({
      at: fc.array(fc.constantFrom("a", "b", "\xff", "x".repeat(200)), { minLength: 0, maxLength: 3 }),
      // Leaves have names of their own, so that none stands in the way of a folder.
      name: fc.tuple(fc.constantFrom("f", "g", "-"), fc.nat(300)).map(([letter, number]) => `${letter}${number}`),
      size: fc.oneof(fc.nat(20), fc.nat(20_000), fc.constantFrom(4096, 8192)),
      mode: fc.nat(0o7777),
      uid: fc.nat(0xffff_fffe),
      seconds: fc.integer({ min: -(2 ** 40), max: 2 ** 40 }),
      value: fc.uint8Array({ maxLength: 5000 }),
      kind: fc.constantFrom("file", "symlink", "folder"),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(leaf, { maxLength: 60 }), fc.nat(255), async (leaves, seed) => {
        const expected = new Map<string, Partial<Seen>>();
        const members = leaves.flatMap(({ at, name, size, mode, uid, seconds, value, kind }): TarMember[] => {
          const path = [...at, name].join("/");
          if (expected.has(path)) return [];
          const content = Buffer.alloc(kind === "folder" ? 0 : size, (seed + size) % 255 || 1);
          const target = content.subarray(0, 4095).toString("latin1") || "t";
          const attribute = kind === "symlink" ? "trusted.v" : "user.v"; // Linux has no user.* for links
          expected.set(path, {
            kind: kind === "folder" ? "directory" : kind,
            mode,
            uid,
            mtime: String(BigInt(seconds) * 1_000_000_000n),
            xattrs: { [attribute]: Buffer.from(value).toString("hex") },
            content: kind === "file" ? sha256(content) : kind === "symlink" ? target : "",
          });
          const records: Record<string, string | Buffer> = {
            path,
            uid: String(uid),
            mtime: String(seconds),
            [`SCHILY.xattr.${attribute}`]: Buffer.from(value),
          };
          if (kind === "symlink") records.linkpath = target;
          const typeFlag = { file: "0", symlink: "2", folder: "5" }[kind] ?? "0";
          return [
            pax(records),
            { name: "short", typeFlag, mode, content: kind === "file" ? content : Buffer.alloc(0) },
          ];
        });
        const seen = await mounted(members);
        for (const [path, node] of expected) expect(seen[path]).toMatchObject(node);
        const leafs = Object.keys(seen).filter((path) => /(?:^|\/)[fg-]\d+$/.test(path));
        expect(leafs.sort()).toEqual([...expected.keys()].sort());
      }),
      { numRuns: 20 },
    );
  });
});

it("writes the same bytes again", async () => {
  const layers = [encodeTar([file("b", "x"), file("a", "y")])];
  expect(readFileSync(await diskOf(scratch(), layers))).toEqual(readFileSync(await diskOf(scratch(), layers)));
});
