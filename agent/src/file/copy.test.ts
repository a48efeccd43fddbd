import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
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
import { createServer } from "node:net";
import { tmpdir } from "node:os";
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
import fc from "fast-check";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { RunningAgent } from "../testing/running-agent.js";
import { collect, copyIn, copyOut } from "./testing/client.js";

const top = mkdtempSync(join(tmpdir(), "zone-copy-"));
const root = join(top, "root");
const outside = join(top, "outside");
let agent: RunningAgent;

beforeAll(async () => {
  mkdirSync(root);
  agent = await RunningAgent.start("", { ZONE_ROOT: root });
});
afterAll(async () => {
  const status = await agent?.stop();
  rmSync(top, { recursive: true, force: true });
  expect(status).toBe(0);
});
beforeEach(() => {
  for (const name of readdirSync(root)) rmSync(join(root, name), { recursive: true, force: true });
  rmSync(outside, { recursive: true, force: true });
  mkdirSync(outside);
  writeFileSync(join(outside, "secret"), "secret");
  mkdirSync(at("d"));
});

const at = (path: string) => join(root, path);
const put = (path: string, content: string | Buffer = "") => {
  mkdirSync(join(at(path), ".."), { recursive: true });
  writeFileSync(at(path), content);
};
const text = (path: string) => readFileSync(at(path), "utf8");
const into = (members: TarMember[], open: object = {}) =>
  copyIn(agent.files, { path: "/d", ...open }, encodeTar(members));

/** All that a folder has, for comparison: types, modes, owners, times, links, contents. */
function listing(path: string): string[] {
  const program = `
import hashlib, os, stat, sys
first = {}
for base, dirs, files in os.walk(sys.argv[1].encode()):
  dirs.sort()
  for name in sorted(dirs + files) + [b'.']:
    p = os.path.join(base, name); s = os.lstat(p); rel = os.path.relpath(p, sys.argv[1].encode())
    kind = stat.S_IFMT(s.st_mode)
    what = hashlib.sha256(open(p, 'rb').read()).hexdigest() if kind == stat.S_IFREG else os.readlink(p) if kind == stat.S_IFLNK else ''
    time = s.st_mtime_ns
    print(rel, oct(s.st_mode), s.st_uid, s.st_gid, time, what, first.setdefault(s.st_ino, rel) if s.st_nlink > 1 and kind != stat.S_IFDIR else '')`;
  const listed = execFileSync("python3", ["-c", program, path], { encoding: "utf8", maxBuffer: 1 << 28 });
  return listed
    .split("\n")
    .filter((line) => line !== "")
    .sort();
}

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
    expect(await copyIn(agent.files, { path: "/d" }, tar)).toMatchObject({ entries: 1, bytes: 2 ** 34 });
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
    await copyIn(agent.files, { path: "/" }, encodeTar([file("var-run/pid", "1")]));
    expect(text("run/pid")).toBe("1");
  });

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

  it("refuses what is no archive, and says what it has unpacked", async () => {
    const tar = encodeTar([file("a", "aa"), file("b", "x".repeat(3000))]);
    const half = copyIn(agent.files, { path: "/d" }, tar.subarray(0, 2000));
    await expect(half).rejects.toMatchObject({ reason: "INVALID_ARCHIVE", metadata: { entries: "1", bytes: "2" } });
    expect(readdirSync(at("d"))).toEqual(["a"]); // no half file
    const text = copyIn(agent.files, { path: "/d" }, Buffer.alloc(5000, "text"));
    await expect(text).rejects.toMatchObject({ reason: "INVALID_ARCHIVE" });
    for (const [path, reason] of [
      ["/none", "FILE_NOT_FOUND"],
      ["/d/a", "NOT_A_DIRECTORY"],
      ["d", "INVALID_PATH"],
    ] as const) {
      await expect(copyIn(agent.files, { path }, tar)).rejects.toMatchObject({ reason });
    }
    await expect(copyIn(agent.files, { path: "/d", uid: 2 ** 32 - 1 }, tar)).rejects.toMatchObject({
      reason: "INVALID_MODE",
    });
    const unopened = agent.files.copyIn();
    unopened.requests.on("error", () => {});
    unopened.requests.write({ data: tar });
    await expect(unopened.response).rejects.toMatchObject({ reason: "OPEN_EXPECTED" });
  });

  it("answers at once when it fails in the middle of much, and bears a client that goes", async () => {
    mkdirSync(at("small"));
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=1m", "tmpfs", at("small")]);
    try {
      const tar = encodeTar([file("a", "a"), file("big", Buffer.alloc(30 << 20))]);
      await expect(copyIn(agent.files, { path: "/small" }, tar)).rejects.toMatchObject({
        ...{ code: "RESOURCE_EXHAUSTED", reason: "NO_SPACE" },
        metadata: { path: "/small/big", entries: "1", bytes: "1" },
      });
      expect(readdirSync(at("small"))).toEqual(["a"]);
    } finally {
      execFileSync("umount", [at("small")]);
    }
    const before = agent.descriptors("agent");
    const call = agent.files.copyIn();
    const failed = expect(call.response).rejects.toMatchObject({ code: "CANCELLED" });
    call.requests.on("error", () => {});
    call.requests.write({ open: { path: "/d" } });
    call.requests.write({ data: encodeTar([file("f", Buffer.alloc(100_000))]).subarray(0, 50_000) });
    await expect.poll(() => existsSync(at("d/f")), { timeout: 20_000 }).toBe(true);
    call.requests.cancel();
    await failed;
    await expect.poll(() => agent.descriptors("agent"), { timeout: 20_000 }).toBe(before);
    expect(existsSync(at("d/f"))).toBe(false);
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
        await copyIn(agent.files, { path: "/d" }, damaged, 700).catch((error: { code: string }) => {
          expect(["INVALID_ARGUMENT", "FAILED_PRECONDITION"]).toContain(error.code);
        });
        expect(readdirSync(root)).toEqual(["d"]);
      }),
      { numRuns: 300 },
    );
    expect(listing(outside)).toEqual(before);
  });
});

describe("CopyOut", () => {
  it("gives an archive that GNU tar unpacks to the same", async () => {
    mkdirSync(at("tree/sub/deep"), { recursive: true });
    put("tree/f", Buffer.alloc(600_001, "xyz"));
    put("tree/empty");
    put("tree/sub/ä ö", "umlauts");
    for (let i = 0; i < 700; i++) put(`tree/sub/deep/file${i}`, `${i}`.repeat(i));
    symlinkSync("../any", at("tree/l"));
    linkSync(at("tree/f"), at("tree/sub/hard"));
    execFileSync("mkfifo", ["-m", "600", at("tree/pipe")]);
    execFileSync("mknod", ["-m", "640", at("tree/node"), "b", "259", "70000"]);
    chmodSync(at("tree/sub"), 0o1777);
    execFileSync("chown", ["-h", "70000:4000000", at("tree/l"), at("tree/empty")]);
    execFileSync("touch", ["-h", "-d", "1969-12-31T00:00:00.123456789Z", at("tree/l"), at("tree/empty")]);
    const server = createServer().listen(at("tree/socket"));
    await once(server, "listening");
    const { root: info, tar } = await copyOut(agent.files, { path: "/tree" });
    server.close();
    await once(server, "close");
    execFileSync("touch", ["-d", "2020-01-01", at("tree")]);
    expect(info).toMatchObject({ name: "tree", type: 2 });
    mkdirSync(at("out"));
    execFileSync("tar", ["-xpf", "-", "--numeric-owner", "--same-owner", "-C", at("out")], { input: tar });
    execFileSync("touch", ["-d", "2020-01-01", at("out/tree")]);
    expect(listing(at("out/tree"))).toEqual(listing(at("tree")));
    expect(statSync(at("out/tree/node")).rdev).toBe(statSync(at("tree/node")).rdev);
  });

  it("names its first member as asked", async () => {
    put("d/f", "x");
    put("d/sub/g", "y");
    const names = async (request: object) => {
      const { tar } = await copyOut(agent.files, { path: "/d", ...request });
      return execFileSync("tar", ["-tf", "-"], { input: tar, encoding: "utf8" }).trim().split("\n").sort();
    };
    expect(await names({})).toEqual(["d/", "d/f", "d/sub/", "d/sub/g"]);
    expect(await names({ name: "." })).toEqual(["./", "./f", "./sub/", "./sub/g"]);
    expect(await names({ name: "a/b" })).toEqual(["a/b/", "a/b/f", "a/b/sub/", "a/b/sub/g"]);
    expect(await names({ path: "/d/f", name: "other" })).toEqual(["other"]);
    symlinkSync("d", at("l"));
    expect(await names({ path: "/l" })).toEqual(["l"]);
    expect(await names({ path: "/l", follow: true, name: "n" })).toEqual(["n/", "n/f", "n/sub/", "n/sub/g"]);
    expect((await copyOut(agent.files, { path: "/" })).root).toMatchObject({ name: "/" });
    for (const name of ["/a", "..", "a/../b", "a//b", "./a", "a/", "x".repeat(5000), "a\0"]) {
      await expect(copyOut(agent.files, { path: "/d", name })).rejects.toMatchObject({ reason: "INVALID_PATH" });
    }
    await expect(copyOut(agent.files, { path: "/d/f", name: "." })).rejects.toMatchObject({
      reason: "NOT_A_DIRECTORY",
    });
    await expect(copyOut(agent.files, { path: "/none" })).rejects.toMatchObject({ reason: "FILE_NOT_FOUND" });
    const server = createServer().listen(at("socket"));
    await once(server, "listening");
    await expect(copyOut(agent.files, { path: "/socket" })).rejects.toMatchObject({ reason: "NOT_A_FILE" });
    server.close();
  });

  it("keeps holes: a large file costs what it holds", async () => {
    put("holes");
    truncateSync(at("holes"), 2 ** 40);
    execFileSync("dd", ["if=/dev/urandom", `of=${at("holes")}`, "bs=64k", "count=1", "seek=1000", "conv=notrunc"], {
      stdio: "ignore",
    });
    const { tar } = await copyOut(agent.files, { path: "/holes" });
    expect(tar.length).toBeLessThan(100_000);
    expect(await copyIn(agent.files, { path: "/d" }, tar)).toMatchObject({ bytes: 2 ** 40 });
    expect(statSync(at("d/holes")).size).toBe(2 ** 40);
    const part = (path: string) =>
      createHash("sha256")
        .update(
          execFileSync("dd", [`if=${at(path)}`, "bs=64k", "count=3", "skip=999"], {
            stdio: ["ignore", "pipe", "ignore"],
          }),
        )
        .digest("hex");
    expect(part("d/holes")).toBe(part("holes"));
    put("all-hole");
    truncateSync(at("all-hole"), 12_345);
    execFileSync("tar", ["-xf", "-", "-C", at("d")], {
      input: (await copyOut(agent.files, { path: "/all-hole" })).tar,
    });
    expect(readFileSync(at("d/all-hole")).equals(Buffer.alloc(12_345))).toBe(true);
  });

  it("cuts or pads a file that changes while it is read", async () => {
    put("tree/big", Buffer.alloc(8 << 20, 1));
    const call = agent.files.copyOut({ path: "/tree" });
    const chunks: Uint8Array[] = [];
    call.once("data", () => truncateSync(at("tree/big"), 100));
    call.on("data", ({ data }) => data && chunks.push(data));
    await once(call, "end");
    const listed = execFileSync("tar", ["-tvf", "-"], { input: Buffer.concat(chunks), encoding: "utf8" });
    expect(listed).toMatch(/8388608.*tree\/big/);
    writeFileSync(at("grow"), "x");
    const writer = agent.shell(`while :; do echo more >> ${at("grow")}; done`);
    for (let i = 0; i < 20; i++) {
      const { tar } = await copyOut(agent.files, { path: "/grow" });
      execFileSync("tar", ["-tf", "-"], { input: tar });
    }
    await writer.drop();
  });

  it("lets a slow client wait, and ends when it goes", async () => {
    put("tree/f", Buffer.alloc(1000));
    for (let i = 0; i < 20; i++) put(`tree/big${i}`, Buffer.alloc(10 << 20, i));
    const before = agent.descriptors("agent");
    const call = agent.files.copyOut({ path: "/tree" });
    call.on("error", () => {});
    await once(call, "data");
    call.pause();
    const rss = agent.rss();
    for (let i = 0; i < 50; i++) await agent.files.stat({ path: "/tree" });
    expect(agent.rss() - rss).toBeLessThan(64 << 20);
    call.cancel();
    await expect.poll(() => agent.descriptors("agent"), { timeout: 20_000 }).toBe(before);
  });

  it("says when directories lie too deep", async () => {
    execFileSync("python3", ["-c", "import os\nfor i in range(600): os.mkdir('d'); os.chdir('d')"], { cwd: at("d") });
    await expect(collect(agent.files.copyOut({ path: "/d" }))).rejects.toMatchObject({ reason: "FILE_FAILED" });
  });

  it("leaves out what the kernel makes up", async () => {
    mkdirSync(at("tree/proc"), { recursive: true });
    execFileSync("mount", ["-t", "proc", "proc", at("tree/proc")]);
    try {
      const { tar } = await copyOut(agent.files, { path: "/tree" });
      expect(execFileSync("tar", ["-tf", "-"], { input: tar, encoding: "utf8" })).toBe("tree/\ntree/proc/\n");
    } finally {
      execFileSync("umount", [at("tree/proc")]);
    }
  });

  it("gives what CopyIn took", { timeout: 180_000 }, async () => {
    const name = fc.stringMatching(/^[a-z\xe4]{1,12}$/);
    const tree = fc.dictionary(
      fc.array(name, { minLength: 1, maxLength: 4 }).map((names) => names.join("/")),
      fc.record({ content: fc.uint8Array({ maxLength: 3000 }), mode: fc.nat(0o7777), uid: fc.nat(100_000) }),
      { maxKeys: 8 },
    );
    await fc.assert(
      fc.asyncProperty(tree, async (files) => {
        for (const folder of ["d", "e"]) {
          rmSync(at(folder), { recursive: true, force: true });
          mkdirSync(at(folder));
        }
        const paths = Object.keys(files);
        const usable = paths.filter((path) => !paths.some((other) => other.startsWith(`${path}/`)));
        const members = usable.flatMap((path) => {
          const { content = new Uint8Array(), mode = 0, uid = 0 } = files[path] ?? {};
          return [
            pax({ path: Buffer.from(path).toString("latin1"), mtime: "77.125" }),
            file("x", Buffer.from(content), { mode, uid }),
          ];
        });
        await copyIn(agent.files, { path: "/d" }, encodeTar(members));
        const { tar } = await copyOut(agent.files, { path: "/d", name: "." });
        await copyIn(agent.files, { path: "/e" }, tar);
        const [first, second] = [listing(at("d")), listing(at("e"))];
        expect(second.filter((line) => !line.startsWith("b'.'"))).toEqual(
          first.filter((line) => !line.startsWith("b'.'")),
        );
        expect(first.filter((line) => line.includes(" 0o10"))).toHaveLength(usable.length);
      }),
      { numRuns: 40 },
    );
  });
});
