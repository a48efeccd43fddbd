import { mkdirSync, readdirSync, statSync, symlinkSync } from "node:fs";
import { encodeTar, file, folder, hardlink, pax, symlink, type TarMember } from "@zone/tar";
import fc from "fast-check";
import { beforeEach, describe, expect, it } from "vitest";
import { copyIn } from "./testing/client.js";
import { listing } from "./testing/listing.js";
import { useRootedAgent } from "./testing/rooted-agent.js";

const zone = useRootedAgent();
const { root, outside, at, put, text } = zone;

const into = (members: TarMember[], open: object = {}) =>
  copyIn(zone.agent.files, { path: "/d", ...open }, encodeTar(members));
beforeEach(() => void mkdirSync(at("d")));

describe("CopyIn", () => {
  const attacks: [string, TarMember[], RegExp][] = [
    ["an absolute name", [file("/etc/passwd", "x")], /absolute/],
    ["..", [file("../f", "x")], /"\.\."/],
    [".. in the middle", [file("a/../../f", "x")], /"\.\."/],
    ["a link to /, then a file through it", [symlink("l", "/"), file("l/f", "x")], /leads out/],
    ["a link up, then a file through it", [symlink("l", ".."), file("l/f", "x")], /leads out/],
    ["a link to a link", [symlink("a", ".."), symlink("b", "a/.."), file("b/f", "x")], /leads out/],
    ["a folder through a link", [symlink("l", "/"), folder("l/made")], /leads out/],
    ["a link of the container", [file("of-container/f", "x")], /leads out/],
    ["a link of the container up", [file("up/f", "x")], /leads out/],
    ["a hard link to an absolute name", [hardlink("h", "/etc/passwd")], /absolute/],
    ["a hard link up", [hardlink("h", "../outside-file")], /"\.\."/],
    ["a hard link through a link", [symlink("l", ".."), hardlink("h", "l/outside-file")], /leads out/],
    ["a hard link to nothing", [hardlink("h", "none")], /not there/],
    ["a hard link to a folder", [folder("x"), hardlink("h", "x")], /is a directory/],
    ["a hard link to the folder itself", [hardlink("h", ".")], /itself/],
    ["a character device", [file("null", "", { typeFlag: "3", major: 1, minor: 3 })], /device/],
    ["a block device", [file("sda", "", { typeFlag: "4", major: 8, minor: 0 })], /device/],
    ["an empty link", [symlink("l", "")], /empty/],
    ["a file for the folder itself", [file(".", "x")], /itself/],
    ["a long name", [pax({ path: "x".repeat(256) }), file("f", "")], /too long/],
    ["a long path", [pax({ path: "x/".repeat(2500) }), file("f", "")], /too long/],
    ["a NUL in a name", [pax({ path: "a\0b" }), file("f", "")], /NUL/],
  ];
  it.each(attacks)("refuses %s", async (_, members, message) => {
    symlinkSync("/", at("d/of-container"));
    symlinkSync("..", at("d/up"));
    put("outside-file", "untouched");
    const before = listing(at("outside-file/..")).filter((line) => !line.startsWith("b'd"));
    const copied = into([file("first", "ok"), ...members]);
    await expect(copied).rejects.toMatchObject({
      ...{ code: "INVALID_ARGUMENT", reason: "INVALID_ARCHIVE", message: expect.stringMatching(message) },
      metadata: { entries: expect.stringMatching(/^[1-3]$/), bytes: "2" },
    });
    expect(text("d/first")).toBe("ok");
    expect(listing(at("outside-file/..")).filter((line) => !line.startsWith("b'd"))).toEqual(before);
  });

  it("overwrites neither through a link that the archive made before, nor what that leads to", async () => {
    put("outside-file", "untouched");
    await into([symlink("l", "../outside-file"), file("l", "mine"), symlink("m", "../outside-file"), folder("m")]);
    expect([text("outside-file"), text("d/l"), statSync(at("d/m")).isDirectory()]).toEqual(["untouched", "mine", true]);
    await into([file("f", "one"), hardlink("g", "f"), file("g", "two")]);
    expect([text("d/f"), text("d/g")]).toEqual(["one", "two"]);
  });

  it("answers any damage with a refusal, and never leaves the directory", { timeout: 120_000 }, async () => {
    const whole = encodeTar([
      folder("sub"),
      symlink("sub/l", "../../.."),
      pax({ path: "sub/long", mtime: "1.5" }),
      file("f", "content"),
      hardlink("h", "sub/long"),
      file("g", "x".repeat(700)),
    ]);
    const damage = fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { minLength: 1, maxLength: 10 });
    const before = listing(outside);
    await fc.assert(
      fc.asyncProperty(damage, fc.nat(whole.length), async (bytes, end) => {
        const damaged = Buffer.from(whole.subarray(0, end));
        for (const [index, byte] of bytes) if (index < end) damaged[index] = byte;
        await copyIn(zone.agent.files, { path: "/d" }, damaged, 700).catch((error: { code: string }) => {
          expect(["INVALID_ARGUMENT", "FAILED_PRECONDITION"]).toContain(error.code);
        });
        expect(readdirSync(root)).toEqual(["d"]);
      }),
      { numRuns: 300 },
    );
    expect(listing(outside)).toEqual(before);
  });
});
