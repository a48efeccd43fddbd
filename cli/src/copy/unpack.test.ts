import { execFileSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { encodeTar, file, folder, hardlink, pax, symlink, type TarMember } from "@zone/tar";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { pack } from "./pack.js";
import type { Place } from "./place.js";
import { unpack } from "./unpack.js";

let top: string;
let into: string;
const leftOut: string[] = [];

beforeEach(() => {
  top = mkdtempSync(join(tmpdir(), "zonectl-cp-"));
  into = join(top, "into");
  mkdirSync(into);
  writeFileSync(join(top, "secret"), "secret");
  leftOut.length = 0;
});
afterEach(() => rmSync(top, { recursive: true, force: true }));

async function* inChunks(tar: Buffer, bytes = 1000): AsyncGenerator<Buffer> {
  for (let at = 0; at < tar.length; at += bytes) yield tar.subarray(at, at + bytes);
}
const options = (archive = false) => ({
  archive,
  leftOut: (name: string, why: string) => void leftOut.push(`${name} ${why}`),
});
const take = (members: TarMember[], place: Partial<Place> = {}, archive = false) =>
  unpack(inChunks(encodeTar(members)), { directory: into, name: undefined, ...place }, options(archive));
const at = (path: string) => join(into, path);

describe("unpack", () => {
  it("makes files, directories and links below the place", async () => {
    await take([
      folder("x/", { mode: 0o700 }),
      file("x/f", "hello", { mode: 0o640, mtime: 1000 }),
      folder("x/ro", { mode: 0o555, mtime: 2000 }),
      file("x/ro/g", "g"),
      symlink("x/l", "/any/where"),
      hardlink("x/h", "x/f"),
      file("x/made/for/it", "deep"),
    ]);
    expect(readFileSync(at("f"), "utf8")).toBe("hello");
    expect(statSync(at("f"))).toMatchObject({ mode: 0o100640, mtimeMs: 1_000_000, nlink: 2 });
    expect(statSync(at("ro"))).toMatchObject({ mode: 0o40555, mtimeMs: 2_000_000 });
    expect(readlinkSync(at("l"))).toBe("/any/where");
    expect(readFileSync(at("made/for/it"), "utf8")).toBe("deep");
    await take([file("x", "one")], { name: "renamed" });
    await take([folder("x"), file("x/in", "two")], { name: "folder" });
    expect([readFileSync(at("renamed"), "utf8"), readFileSync(at("folder/in"), "utf8")]).toEqual(["one", "two"]);
  });

  it("takes owners and setuid only with archive", async () => {
    const members = [
      file("x/f", "", { mode: 0o6755, uid: 5, gid: 6 }),
      folder("x/d", { mode: 0o3777, uid: 7, gid: 8 }),
    ];
    await take(members);
    expect([statSync(at("f")).mode & 0o7777, statSync(at("d")).mode & 0o7777]).toEqual([0o755, 0o1777]);
    expect(statSync(at("f")).uid).toBe(process.geteuid?.());
    if (process.geteuid?.() !== 0) return;
    await take(members, {}, true);
    expect(statSync(at("f"))).toMatchObject({ mode: 0o106755, uid: 5, gid: 6 });
    expect(statSync(at("d"))).toMatchObject({ mode: 0o43777, uid: 7, gid: 8 });
  });

  it("replaces files and links, not what they lead to, and no directory", async () => {
    writeFileSync(at("f"), "old");
    linkSync(at("f"), at("other"));
    symlinkSync("../secret", at("l"));
    mkdirSync(at("d"));
    await take([file("x/f", "new"), file("x/l", "new")]);
    expect(["f", "other", "l", "../secret"].map((name) => readFileSync(at(name), "utf8"))).toEqual([
      ...["new", "old", "new", "secret"],
    ]);
    await expect(take([file("x/d", "new")])).rejects.toThrow(/cannot replace a directory/);
    await expect(take([folder("x/f")])).rejects.toThrow(/cannot replace/);
  });

  it.each<[string, TarMember[], RegExp]>([
    ["an absolute name", [file("/x/f", "")], /absolute/],
    ["..", [file("x/../../secret", "")], /"\.\."/],
    ["a name that was not asked for", [file("y", "")], /none of what was asked for/],
    ["a file through a link", [symlink("x/l", ".."), file("x/l/secret", "mine")], /in its way/],
    ["a file through a link to /", [symlink("x/l", "/"), file("x/l/tmp/zonectl-cp-x", "mine")], /in its way/],
    ["a directory through a link", [symlink("x/l", ".."), folder("x/l/made")], /in its way/],
    ["a directory for a link", [symlink("x/l", ".."), folder("x/l")], /cannot replace/],
    ["a link of the user's on the way", [file("x/users/secret", "mine")], /in its way/],
    ["a hard link out", [hardlink("x/h", "../secret")], /none of what|"\.\."/],
    ["a hard link by ..", [hardlink("x/h", "x/../secret")], /"\.\."/],
    ["a hard link through a link", [symlink("x/l", ".."), hardlink("x/h", "x/l/secret")], /in its way/],
    ["a hard link to an absolute name", [hardlink("x/h", "/etc/passwd")], /absolute/],
    ["a long name", [pax({ path: `x/${"y".repeat(256)}` }), file("x")], /too long/],
    ["damage", [{ name: "x", typeFlag: "x", content: Buffer.from("99 path=x\n") }, file("x/f")], /malformed/],
    [
      "more than the disk has",
      [pax({ size: "9000000000000000" }), file("x/f", "z".repeat(5000))],
      /ends too early|fill/,
    ],
  ])("refuses %s", async (_, members, message) => {
    symlinkSync("..", at("users"));
    await expect(take(members)).rejects.toThrow(message);
    expect(readFileSync(join(top, "secret"), "utf8")).toBe("secret");
    expect(readdirSync(top).sort()).toEqual(["into", "secret"]);
    expect(lstatSync(join(top, "secret")).nlink).toBe(1);
  });

  it("leaves out devices and FIFOs", async () => {
    await take([
      file("x/null", "", { typeFlag: "3", major: 1, minor: 3 }),
      file("x/pipe", "", { typeFlag: "6" }),
      file("x/f", "f"),
    ]);
    expect(readdirSync(into)).toEqual(["f"]);
    expect(leftOut).toEqual(['"x/null" a device', '"x/pipe" a FIFO']);
  });

  it("answers any damage with an error, and never leaves its place", async () => {
    const whole = encodeTar([folder("x"), symlink("x/l", "../.."), file("x/f", "content"), hardlink("x/h", "x/f")]);
    const damage = fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { minLength: 1, maxLength: 10 });
    await fc.assert(
      fc.asyncProperty(damage, async (bytes) => {
        const damaged = Buffer.from(whole);
        for (const [index, byte] of bytes) damaged[index] = byte;
        await unpack(inChunks(damaged, 700), { directory: into, name: undefined }, options()).catch(() => {});
        expect(readdirSync(top).sort()).toEqual(["into", "secret"]);
      }),
      { numRuns: 200 },
    );
  });
});

describe("pack", () => {
  async function packed(path: string, name: string | undefined, follow = false): Promise<Buffer> {
    const chunks: Buffer[] = [];
    for await (const chunk of pack(path, name, { ...options(), follow })) {
      expect(chunk.length).toBeLessThanOrEqual(256 * 1024);
      chunks.push(chunk);
    }
    return Buffer.concat(chunks);
  }

  it("and unpack give the same again", async () => {
    mkdirSync(at("d/sub"), { recursive: true });
    writeFileSync(at("d/big"), Buffer.alloc(700_001, "abc"));
    writeFileSync(Buffer.concat([Buffer.from(`${at("d")}/`), Buffer.from([0xe4])]), "latin1");
    linkSync(at("d/big"), at("d/sub/hard"));
    symlinkSync("big", at("d/l"));
    chmodSync(at("d/sub"), 0o710);
    writeFileSync(at("d/holes"), "");
    truncateSync(at("d/holes"), 100 << 20);
    execFileSync("dd", ["if=/dev/urandom", `of=${at("d/holes")}`, "bs=4k", "count=2", "seek=999", "conv=notrunc"], {
      stdio: "ignore",
    });
    const tar = await packed(at("d"), "x");
    expect(tar.length).toBeLessThan(1 << 20);
    await unpack(inChunks(tar, 5000), { directory: top, name: "copy" }, options());
    execFileSync("diff", ["-r", "--no-dereference", at("d"), join(top, "copy")]);
    expect(statSync(join(top, "copy/sub")).mode & 0o777).toBe(0o710);
    expect(statSync(join(top, "copy/holes")).blocks).toBeLessThan(100);
    expect(statSync(join(top, "copy/sub/hard")).ino).toBe(statSync(join(top, "copy/big")).ino);
  });

  it("follows only the link that is named, and leaves out what is no file", async () => {
    writeFileSync(at("f"), "f");
    symlinkSync("f", at("l"));
    execFileSync("mknod", [at("null"), "c", "1", "3"]);
    const list = (tar: Buffer) => execFileSync("tar", ["-tvf", "-"], { input: tar, encoding: "utf8" });
    expect(list(await packed(at("l"), "n"))).toMatch(/^l.* n -> f\n$/);
    expect(list(await packed(at("l"), "n", true))).toMatch(/^-.* n\n$/);
    const all = list(await packed(into, undefined, true));
    expect(all).toMatch(/ \.\/l -> f\n/);
    expect([all.includes("null"), leftOut]).toEqual([false, [`${at("null")} a device`]]);
    await expect(packed(at("none"), "n")).rejects.toThrow(/ENOENT/);
    expect(existsSync(at("none"))).toBe(false);
  });
});
