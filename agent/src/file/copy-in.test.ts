import { execFileSync } from "node:child_process";
import {
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
} from "node:fs";
import { join } from "node:path";
import {
  encodeEntry,
  encodeTar,
  file,
  folder,
  hardlink,
  pax,
  symlink,
  TAR_END,
  type TarEntry,
  type TarMember,
  tarPadding,
} from "@zone/tar";
import { beforeEach, describe, expect, it } from "vitest";
import { copyIn } from "./testing/client.js";
import { useRootedAgent } from "./testing/rooted-agent.js";

const zone = useRootedAgent();
const { outside, at, put, text } = zone;

const into = (members: TarMember[], open: object = {}) =>
  copyIn(zone.agent.files, { path: "/d", ...open }, encodeTar(members));
beforeEach(() => void mkdirSync(at("d")));

describe("CopyIn", () => {
  it("makes what the archive has, with owners, modes, times and links", async () => {
    const content = Buffer.alloc(700_000, "abc");
    const copied = await into([
      folder("sub/", { mode: 0o2750, uid: 1, gid: 2, mtime: 1000 }),
      pax({ mtime: "2000.123456789" }),
      file("sub/f", content, { mode: 0o4711, uid: 3, gid: 4 }),
      symlink("sub/l", "/any/where"),
      hardlink("h", "sub/f"),
      file("a/b/c/deep", "x"),
      file("pipe", "", { typeFlag: "6", mode: 0o622, uid: 9 }),
      pax({ path: "\xff\xfe" }),
      file("x", "not UTF-8"),
    ]);
    expect(copied).toEqual(expect.objectContaining({ entries: 7, bytes: content.length + 10 }));
    expect(statSync(at("d/sub"))).toMatchObject({ mode: 0o42750, uid: 1, gid: 2, mtimeMs: 1_000_000 });
    const { mtimeNs, ino } = statSync(at("d/sub/f"), { bigint: true });
    expect(mtimeNs).toBe(2_000_123_456_789n);
    expect(statSync(at("d/sub/f"))).toMatchObject({ mode: 0o104711, uid: 3, gid: 4, nlink: 2 });
    expect(statSync(at("d/h"), { bigint: true }).ino).toBe(ino);
    expect(readFileSync(at("d/sub/f")).equals(content)).toBe(true);
    expect(readlinkSync(at("d/sub/l"))).toBe("/any/where");
    expect(statSync(at("d/a/b"))).toMatchObject({ mode: 0o40755, uid: 0, gid: 0 });
    expect(lstatSync(at("d/pipe"))).toMatchObject({ mode: 0o10622, uid: 9 });
    const odd = Buffer.concat([Buffer.from(`${at("d")}/`), Buffer.from([0xff, 0xfe])]);
    expect(readFileSync(odd, "utf8")).toBe("not UTF-8");
  });

  it("gives all to one owner when asked", async () => {
    const members = [folder("a", { uid: 1, gid: 1 }), file("b/c", "", { uid: 2, gid: 2 }), symlink("l", "t")];
    await into(members, { uid: 8, gid: 9 });
    for (const path of ["d/a", "d/b", "d/b/c", "d/l"]) expect(lstatSync(at(path))).toMatchObject({ uid: 8, gid: 9 });
    await into([file("only", "", { uid: 2, gid: 3 })], { gid: 0 });
    expect(statSync(at("d/only"))).toMatchObject({ uid: 2, gid: 0 });
  });

  it("keeps holes", async () => {
    const entry: TarEntry = {
      ...{ kind: "file", name: "holes", linkName: "", mode: 0o600, uid: 0, gid: 0, size: 2 ** 34, major: 0, minor: 0 },
      ...{ sparse: [{ offset: 2 ** 33, length: 5 }], mtime: { seconds: 0, nanoseconds: 0 }, xattrs: new Map() },
    };
    const data = Buffer.from("hello");
    const tar = Buffer.concat([encodeEntry(entry), data, tarPadding(data.length), TAR_END]);
    expect(await copyIn(zone.agent.files, { path: "/d" }, tar)).toMatchObject({ entries: 1, bytes: 2 ** 34 });
    const { size, blocks } = statSync(at("d/holes"));
    expect([size, blocks < 100]).toEqual([2 ** 34, true]);
    const program = `f=open('${at("d/holes")}','rb'); f.seek(2**33); print(f.read(6))`;
    expect(execFileSync("python3", ["-c", program], { encoding: "utf8" })).toBe("b'hello\\x00'\n");
  });

  it("merges directories and replaces the rest", async () => {
    put("d/dir/kept", "kept");
    put("d/file", "old");
    put("d/hard", "old");
    linkSync(at("d/hard"), at("other-name"));
    symlinkSync(join(outside, "secret"), at("d/link"));
    put("d/full/x/y", "");
    await into([
      folder("dir", { mode: 0o711 }),
      file("file", "new"),
      file("hard", "new"),
      file("link", "new"),
      file("full", "now a file"),
    ]);
    expect(statSync(at("d/dir")).mode & 0o777).toBe(0o711);
    expect(["d/dir/kept", "d/file", "d/hard", "d/link", "d/full", "other-name"].map(text)).toEqual([
      ...["kept", "new", "new", "new", "now a file", "old"],
    ]);
    await into([folder("file"), symlink("l", "t"), symlink("l", "u"), file("l2"), hardlink("l2", "link")]);
    expect([statSync(at("d/file")).isDirectory(), readlinkSync(at("d/l")), text("d/l2")]).toEqual([true, "u", "new"]);
    await into([hardlink("l2", "l2")]);
    expect(readFileSync(join(outside, "secret"), "utf8")).toBe("secret");
  });

  it("with no_replace_types keeps directories from being replaced, and from replacing", async () => {
    put("d/dir/x", "");
    put("d/file", "old");
    symlinkSync("dir", at("d/link"));
    const options = { noReplaceTypes: true };
    await expect(into([file("dir", "f")], options)).rejects.toMatchObject({ reason: "IS_A_DIRECTORY" });
    await expect(into([symlink("dir", "t")], options)).rejects.toMatchObject({ reason: "IS_A_DIRECTORY" });
    await expect(into([folder("file")], options)).rejects.toMatchObject({ reason: "NOT_A_DIRECTORY" });
    await expect(into([folder("link")], options)).rejects.toMatchObject({ reason: "NOT_A_DIRECTORY" });
    await into([folder("dir"), file("file", "new"), file("dir/y", "y")], options);
    expect([text("d/file"), text("d/dir/y"), readlinkSync(at("d/link"))]).toEqual(["new", "y", "dir"]);
  });

  it("follows links that stay in the directory, and in the root all of them", async () => {
    mkdirSync(at("d/usr/lib"), { recursive: true });
    symlinkSync("usr/lib", at("d/lib"));
    await into([file("lib/a", "a"), hardlink("lib/b", "lib/a")]);
    expect([text("d/usr/lib/a"), text("d/usr/lib/b")]).toEqual(["a", "a"]);
    mkdirSync(at("run"));
    symlinkSync("/run", at("var-run"));
    await copyIn(zone.agent.files, { path: "/" }, encodeTar([file("var-run/pid", "1")]));
    expect(text("run/pid")).toBe("1");
  });

  it("refuses what is no archive, and says what it has unpacked", async () => {
    const tar = encodeTar([file("a", "aa"), file("b", "x".repeat(3000))]);
    const half = copyIn(zone.agent.files, { path: "/d" }, tar.subarray(0, 2000));
    await expect(half).rejects.toMatchObject({ reason: "INVALID_ARCHIVE", metadata: { entries: "1", bytes: "2" } });
    expect(readdirSync(at("d"))).toEqual(["a"]); // no half file
    const text = copyIn(zone.agent.files, { path: "/d" }, Buffer.alloc(5000, "text"));
    await expect(text).rejects.toMatchObject({ reason: "INVALID_ARCHIVE" });
    for (const [path, reason] of [
      ["/none", "FILE_NOT_FOUND"],
      ["/d/a", "NOT_A_DIRECTORY"],
      ["d", "INVALID_PATH"],
    ] as const) {
      await expect(copyIn(zone.agent.files, { path }, tar)).rejects.toMatchObject({ reason });
    }
    await expect(copyIn(zone.agent.files, { path: "/d", uid: 2 ** 32 - 1 }, tar)).rejects.toMatchObject({
      reason: "INVALID_MODE",
    });
    const unopened = zone.agent.files.copyIn();
    unopened.requests.on("error", () => {});
    unopened.requests.write({ data: tar });
    await expect(unopened.response).rejects.toMatchObject({ reason: "OPEN_EXPECTED" });
  });

  it("answers at once when it fails in the middle of much, and bears a client that goes", async () => {
    mkdirSync(at("small"));
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=1m", "tmpfs", at("small")]);
    try {
      const tar = encodeTar([file("a", "a"), file("big", Buffer.alloc(30 << 20))]);
      await expect(copyIn(zone.agent.files, { path: "/small" }, tar)).rejects.toMatchObject({
        ...{ code: "RESOURCE_EXHAUSTED", reason: "NO_SPACE" },
        metadata: { path: "/small/big", entries: "1", bytes: "1" },
      });
      expect(readdirSync(at("small"))).toEqual(["a"]);
    } finally {
      execFileSync("umount", [at("small")]);
    }
    const before = zone.agent.descriptors("agent");
    const call = zone.agent.files.copyIn();
    const failed = expect(call.response).rejects.toMatchObject({ code: "CANCELLED" });
    call.requests.on("error", () => {});
    call.requests.write({ open: { path: "/d" } });
    call.requests.write({ data: encodeTar([file("f", Buffer.alloc(100_000))]).subarray(0, 50_000) });
    await expect.poll(() => existsSync(at("d/f")), { timeout: 20_000 }).toBe(true);
    call.requests.cancel();
    await failed;
    await expect.poll(() => zone.agent.descriptors("agent"), { timeout: 20_000 }).toBe(before);
    expect(existsSync(at("d/f"))).toBe(false);
  });
});
