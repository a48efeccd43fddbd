import { execFileSync } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  chownSync,
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
  utimesSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { agent as messages } from "@zone/proto";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { RunningAgent } from "../testing/running-agent.js";
import { collect, readAll, writeAll } from "./testing/client.js";

/** The real agent, which takes a folder of ours for the zone's root; `outside` is what no call may reach. */
const top = mkdtempSync(join(tmpdir(), "zone-file-"));
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
});

const at = (path: string) => join(root, path);
const put = (path: string, text = "") => {
  mkdirSync(join(at(path), ".."), { recursive: true });
  writeFileSync(at(path), text);
};
const text = (path: string) => readFileSync(at(path), "utf8");
const { FileType } = messages;

describe("Stat", () => {
  it("tells all of a file, a link and what it leads to", async () => {
    put("d/f", "hello");
    chmodSync(at("d/f"), 0o4751);
    chownSync(at("d/f"), 7, 8);
    utimesSync(at("d/f"), 100, 200.5);
    chmodSync(at("d/f"), 0o4751);
    linkSync(at("d/f"), at("d/g"));
    symlinkSync("/d/f", at("l"));
    const file = (await agent.files.stat({ path: "/d/f" })).file;
    const { ino, blocks } = statSync(at("d/f"));
    expect(file).toMatchObject({
      ...{ name: "f", type: FileType.FILE_TYPE_REGULAR, mode: 0o4751, uid: 7, gid: 8, size: 5, links: 2, inode: ino },
      ...{ allocatedBytes: blocks * 512, linkTarget: "" },
      modifiedAt: { seconds: 200, nanos: 500_000_000 },
      accessedAt: { seconds: 100, nanos: 0 },
    });
    expect(Number(file?.changedAt?.seconds)).toBeGreaterThan(1e9);
    const link = (await agent.files.stat({ path: "/l" })).file;
    expect(link).toMatchObject({ name: "l", type: FileType.FILE_TYPE_SYMLINK, linkTarget: "/d/f" });
    expect((await agent.files.stat({ path: "/l", follow: true })).file).toMatchObject({ name: "l", size: 5 });
    expect((await agent.files.stat({ path: "/" })).file).toMatchObject({
      name: "/",
      type: FileType.FILE_TYPE_DIRECTORY,
    });
  });

  it("knows every type", async () => {
    execFileSync("mkfifo", [at("fifo")]);
    execFileSync("mknod", [at("char"), "c", "1", "3"]);
    execFileSync("mknod", [at("block"), "b", "7", "0"]);
    const server = createServer().listen(at("socket"));
    await once(server, "listening");
    for (const [name, type] of [
      ["fifo", FileType.FILE_TYPE_FIFO],
      ["char", FileType.FILE_TYPE_CHARACTER_DEVICE],
      ["block", FileType.FILE_TYPE_BLOCK_DEVICE],
      ["socket", FileType.FILE_TYPE_SOCKET],
    ] as const) {
      expect((await agent.files.stat({ path: `/${name}` })).file).toMatchObject({ name, type });
      // None of them is ever opened: a FIFO would wait for its other end.
      const reason = "NOT_A_FILE";
      await expect(readAll(agent.files, { path: `/${name}` })).rejects.toMatchObject({ reason });
      await expect(writeAll(agent.files, { path: `/${name}` }, "x")).rejects.toMatchObject({ reason });
      await expect(writeAll(agent.files, { path: `/${name}`, append: true }, "x")).rejects.toMatchObject({ reason });
      await expect(writeAll(agent.files, { path: `/${name}`, offset: 0 }, "x")).rejects.toMatchObject({ reason });
    }
    server.close();
  });

  it("never leaves the root", async () => {
    symlinkSync("../outside/secret", at("up"));
    symlinkSync(join(outside, "secret"), at("absolute"));
    symlinkSync("/", at("self"));
    symlinkSync("/proc/self/root", at("magic"));
    for (const path of ["/up", "/absolute", "/../outside/secret", "/self/../../outside/secret"]) {
      await expect(agent.files.stat({ path, follow: true })).rejects.toMatchObject({ reason: "FILE_NOT_FOUND" });
      await expect(readAll(agent.files, { path })).rejects.toMatchObject({ reason: "FILE_NOT_FOUND" });
    }
  });
});

describe("every call refuses", () => {
  const calls: [string, (path: string) => Promise<unknown>][] = [
    ["Stat", (path) => agent.files.stat({ path })],
    ["ReadDirectory", (path) => agent.files.readDirectory({ path })],
    ["Read", (path) => readAll(agent.files, { path })],
    ["Write", (path) => writeAll(agent.files, { path }, "x")],
    ["MakeDirectory", (path) => agent.files.makeDirectory({ path })],
    ["MakeLink", (path) => agent.files.makeLink({ path, target: "t" })],
    ["MakeLink to it", (path) => agent.files.makeLink({ path: "/l", target: path, hard: true })],
    ["Remove", (path) => agent.files.remove({ path })],
    ["Move from it", (path) => agent.files.move({ from: path, to: "/x" })],
    ["Move to it", (path) => agent.files.move({ from: "/x", to: path })],
    ["SetAttributes", (path) => agent.files.setAttributes({ path, mode: 0o600 })],
    ["Watch", (path) => collect(agent.files.watch({ path }))],
    ["CopyOut", (path) => collect(agent.files.copyOut({ path }))],
  ];
  it.each(calls)("%s: bad paths, and files below files", async (_, call) => {
    put("x", "");
    for (const path of ["", "relative", "/a\0b", `/${"x".repeat(256)}`, `/${"y/".repeat(2100)}`]) {
      await expect(call(path)).rejects.toMatchObject({ code: "INVALID_ARGUMENT", reason: "INVALID_PATH" });
    }
    put("file", "f");
    const below = call("/file/below");
    await expect(below).rejects.toMatchObject({
      ...{ code: "FAILED_PRECONDITION", reason: "NOT_A_DIRECTORY", domain: "zone.agent" },
      metadata: { errno: "ENOTDIR" },
    });
    symlinkSync("loop", at("loop"));
    await expect(call("/loop/x")).rejects.toMatchObject({ reason: "TOO_MANY_LINKS" });
    expect(text("file")).toBe("f");
  });

  it.each<[string, Promise<unknown> | (() => Promise<unknown>)]>([
    ["stat", () => agent.files.stat({ containerId: "none", path: "/" })],
    ["read", () => readAll(agent.files, { containerId: "none", path: "/" })],
    ["write", () => writeAll(agent.files, { containerId: "none", path: "/f" }, "x")],
    ["watch", () => collect(agent.files.watch({ containerId: "none", path: "/" }))],
    ["copyOut", () => collect(agent.files.copyOut({ containerId: "none", path: "/" }))],
  ])("%s: containers that are not there", async (_, call) => {
    const asked = typeof call === "function" ? call() : call;
    await expect(asked).rejects.toMatchObject({ code: "NOT_FOUND", reason: "CONTAINER_UNKNOWN" });
  });
});

describe("ReadDirectory", () => {
  it("gives pages by name", async () => {
    mkdirSync(at("d"));
    for (let i = 0; i < 2500; i++) writeFileSync(at(`d/f${String(i).padStart(4, "0")}`), "");
    symlinkSync("t", at("d/link"));
    const names: string[] = [];
    for (let after = "", more = true; more; ) {
      const page = await agent.files.readDirectory({ path: "/d", after });
      expect(page.files?.length).toBeLessThanOrEqual(1000);
      names.push(...(page.files ?? []).map(({ name }) => name ?? ""));
      after = names.at(-1) ?? "";
      more = page.more ?? false;
    }
    expect(names).toEqual(readdirSync(at("d")).sort());
    const page = await agent.files.readDirectory({ path: "/d", after: "f2498", limit: 2 });
    expect(page).toMatchObject({ files: [{ name: "f2499" }, { name: "link", linkTarget: "t" }], more: false });
    expect(await agent.files.readDirectory({ path: "/d", after: "", limit: 1 })).toMatchObject({ more: true });
    expect((await agent.files.readDirectory({ path: "/d", limit: 5000 })).files).toHaveLength(1000);
  });

  it("replaces what is not UTF-8, and follows a link to a directory", async () => {
    mkdirSync(at("d"));
    writeFileSync(Buffer.concat([Buffer.from(at("d/")), Buffer.from([0xff, 0x61])]), "");
    symlinkSync("d", at("l"));
    expect((await agent.files.readDirectory({ path: "/l" })).files).toMatchObject([{ name: "\ufffda" }]);
    await expect(agent.files.readDirectory({ path: "/none" })).rejects.toMatchObject({ reason: "FILE_NOT_FOUND" });
  });
});

describe("Read", () => {
  it("gives any part, in chunks", async () => {
    const bytes = Buffer.alloc(1_000_003, "abcdefg");
    writeFileSync(at("f"), bytes);
    const chunks = await collect(agent.files.read({ path: "/f" }));
    expect(Math.max(...chunks.map(({ data }) => data?.length ?? 0))).toBe(256 * 1024);
    expect(Buffer.concat(chunks.map(({ data }) => data ?? Buffer.alloc(0))).equals(bytes)).toBe(true);
    const part = await readAll(agent.files, { path: "/f", offset: 300_000, length: 400_000 });
    expect(part.equals(bytes.subarray(300_000, 700_000))).toBe(true);
    expect(await readAll(agent.files, { path: "/f", offset: 1_000_000, length: 9 })).toHaveLength(3);
    expect(await readAll(agent.files, { path: "/f", offset: 2_000_000 })).toHaveLength(0);
  });

  it("reads holes as zeros, and what proc makes up", async () => {
    put("holes");
    truncateSync(at("holes"), 600_000);
    expect((await readAll(agent.files, { path: "/holes" })).equals(Buffer.alloc(600_000))).toBe(true);
    mkdirSync(at("proc"));
    execFileSync("mount", ["-t", "proc", "proc", at("proc")]);
    try {
      expect((await readAll(agent.files, { path: "/proc/version" })).toString()).toContain("Linux");
      const magic = readAll(agent.files, { path: "/proc/self/root/etc/passwd" });
      await expect(magic).rejects.toMatchObject({ reason: "TOO_MANY_LINKS" });
    } finally {
      execFileSync("umount", [at("proc")]);
    }
  });

  it("refuses directories and offsets that are none", async () => {
    mkdirSync(at("d"));
    await expect(readAll(agent.files, { path: "/d" })).rejects.toMatchObject({ reason: "IS_A_DIRECTORY" });
    const far = readAll(agent.files, { path: "/d", offset: 2 ** 60 });
    await expect(far).rejects.toMatchObject({ code: "INVALID_ARGUMENT", reason: "INVALID_SIZE" });
  });

  it("waits for a client that does not read, and ends when it goes", async () => {
    writeFileSync(at("big"), "");
    truncateSync(at("big"), 2 ** 33);
    const before = agent.descriptors("agent");
    const call = agent.files.read({ path: "/big" });
    call.on("error", () => {});
    await once(call, "data");
    call.pause();
    const rss = agent.rss();
    await agent.files.stat({ path: "/big" });
    expect(agent.rss() - rss).toBeLessThan(64 << 20);
    call.cancel();
    await expect.poll(() => agent.descriptors("agent"), { timeout: 20_000 }).toBe(before);
  });
});

describe("Write", () => {
  const leftovers = () => readdirSync(root).filter((name) => name.startsWith(".zone"));

  it("makes a file with the mode and owner that are asked for", async () => {
    expect(await writeAll(agent.files, { path: "/new" }, "hello")).toMatchObject({ writtenBytes: 5 });
    expect([text("new"), statSync(at("new")).mode & 0o7777]).toEqual(["hello", 0o644]);
    await writeAll(agent.files, { path: "/own", mode: 0o4755, uid: 5, gid: 6 }, Buffer.alloc(700_000, 1));
    expect(statSync(at("own"))).toMatchObject({ size: 700_000, uid: 5, gid: 6, mode: 0o104755 });
  });

  it("replaces a file by another, which inherits its mode and owner", async () => {
    put("f", "old content");
    chmodSync(at("f"), 0o640);
    chownSync(at("f"), 5, 6);
    const { ino } = statSync(at("f"));
    await writeAll(agent.files, { path: "/f" }, "new");
    expect(statSync(at("f"))).toMatchObject({ uid: 5, gid: 6, mode: 0o100640, size: 3 });
    expect(statSync(at("f")).ino).not.toBe(ino);
    await writeAll(agent.files, { path: "/f", mode: 0o600, uid: 0 }, "");
    expect(statSync(at("f"))).toMatchObject({ uid: 0, gid: 6, mode: 0o100600, size: 0 });
    expect(leftovers()).toEqual([]);
  });

  it("writes through links as a process of the root would", async () => {
    put("d/f", "old");
    symlinkSync("/d/f", at("absolute"));
    symlinkSync("../absolute", at("d/relative"));
    symlinkSync("missing", at("d/dangling"));
    await writeAll(agent.files, { path: "/d/relative" }, "new");
    expect([text("d/f"), readlinkSync(at("absolute"))]).toEqual(["new", "/d/f"]);
    await writeAll(agent.files, { path: "/d/dangling" }, "made");
    expect(text("d/missing")).toBe("made");
    await writeAll(agent.files, { path: "/d/relative", append: true }, "er");
    expect(text("d/f")).toBe("newer");
    symlinkSync("../outside/secret", at("out"));
    await expect(writeAll(agent.files, { path: "/out" }, "x")).rejects.toMatchObject({ reason: "FILE_NOT_FOUND" });
    symlinkSync("around", at("around"));
    await expect(writeAll(agent.files, { path: "/around" }, "x")).rejects.toMatchObject({ reason: "TOO_MANY_LINKS" });
    expect(readFileSync(join(outside, "secret"), "utf8")).toBe("secret");
  });

  it("writes into a file from an offset, or at its end", async () => {
    put("f", "0123456789");
    await writeAll(agent.files, { path: "/f", offset: 3 }, "abc");
    expect(text("f")).toBe("012abc6789");
    await writeAll(agent.files, { path: "/f", offset: 12 }, "z");
    expect(text("f")).toBe("012abc6789\0\0z");
    await writeAll(agent.files, { path: "/f", append: true }, "!");
    expect(text("f")).toBe("012abc6789\0\0z!");
    await writeAll(agent.files, { path: "/log", append: true, mode: 0o600, uid: 3 }, "1");
    await writeAll(agent.files, { path: "/at", offset: 1 }, "1");
    expect([text("log"), statSync(at("log")).mode & 0o777, text("at")]).toEqual(["1", 0o600, "\x001"]);
    const both = writeAll(agent.files, { path: "/f", offset: 1, append: true }, "x");
    await expect(both).rejects.toMatchObject({ reason: "INVALID_SIZE" });
  });

  it("with `exclusive` replaces nothing, not even a link that leads nowhere", async () => {
    put("f", "old");
    symlinkSync("nowhere", at("l"));
    for (const open of [{ path: "/f" }, { path: "/l" }, { path: "/f", append: true }, { path: "/f", offset: 0 }]) {
      const written = writeAll(agent.files, { ...open, exclusive: true }, "x");
      await expect(written).rejects.toMatchObject({ code: "ALREADY_EXISTS", reason: "FILE_EXISTS" });
    }
    await writeAll(agent.files, { path: "/g", exclusive: true }, "x");
    expect([text("f"), text("g"), leftovers()]).toEqual(["old", "x", []]);
  });

  it("refuses what cannot be written to, and leaves nothing", async () => {
    mkdirSync(at("d"));
    for (const path of ["/d", "/d/", "/new/"]) {
      await expect(writeAll(agent.files, { path }, "x")).rejects.toMatchObject({ reason: "IS_A_DIRECTORY" });
    }
    for (const path of ["/", "/d/..", "/."]) {
      await expect(writeAll(agent.files, { path }, "x")).rejects.toMatchObject({ reason: "INVALID_PATH" });
    }
    await expect(writeAll(agent.files, { path: "/no/f" }, "x")).rejects.toMatchObject({ reason: "FILE_NOT_FOUND" });
    const mode = writeAll(agent.files, { path: "/f", mode: 0o10000 }, "x");
    await expect(mode).rejects.toMatchObject({ reason: "INVALID_MODE" });
    const uid = writeAll(agent.files, { path: "/f", uid: 0xffff_ffff }, "x");
    await expect(uid).rejects.toMatchObject({ reason: "INVALID_MODE" });
    mkdirSync(at("full"));
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=64k", "tmpfs", at("full")]);
    try {
      const full = writeAll(agent.files, { path: "/full/f" }, Buffer.alloc(1 << 20));
      await expect(full).rejects.toMatchObject({ code: "RESOURCE_EXHAUSTED", reason: "NO_SPACE" });
      expect(readdirSync(at("full"))).toEqual([]);
      execFileSync("mount", ["-o", "remount,ro", at("full")]);
      for (const path of ["/full/f"]) {
        await expect(writeAll(agent.files, { path }, "x")).rejects.toMatchObject({ reason: "READ_ONLY_FS" });
        await expect(agent.files.makeDirectory({ path })).rejects.toMatchObject({ reason: "READ_ONLY_FS" });
      }
    } finally {
      execFileSync("umount", [at("full")]);
    }
    expect(readdirSync(root).sort()).toEqual(["d", "full"]);
  });

  it("keeps to the order and size of messages", async () => {
    const first = agent.files.write();
    first.requests.on("error", () => {});
    first.requests.write({ data: Buffer.from("x") });
    await expect(first.response).rejects.toMatchObject({ code: "INVALID_ARGUMENT", reason: "OPEN_EXPECTED" });
    const none = agent.files.write();
    none.requests.end();
    await expect(none.response).rejects.toMatchObject({ reason: "OPEN_EXPECTED" });
    const twice = agent.files.write();
    twice.requests.on("error", () => {});
    twice.requests.write({ open: { path: "/f" } });
    twice.requests.write({ open: { path: "/f" } });
    await expect(twice.response).rejects.toMatchObject({ reason: "OPEN_EXPECTED" });
    const large = agent.files.write();
    large.requests.on("error", () => {});
    large.requests.write({ open: { path: "/f" } });
    large.requests.write({ data: Buffer.alloc(256 * 1024 + 1) });
    await expect(large.response).rejects.toMatchObject({ reason: "INVALID_SIZE" });
    expect(readdirSync(root)).toEqual([]);
  });

  it("changes nothing when it is cancelled, or its link breaks", async () => {
    put("f", "old");
    const abort = new AbortController();
    const call = agent.files.write({ signal: abort.signal });
    call.requests.on("error", () => {});
    call.requests.write({ open: { path: "/f" } });
    call.requests.write({ data: Buffer.from("new") });
    await expect.poll(leftovers, { timeout: 20_000 }).toHaveLength(1);
    abort.abort();
    await expect(call.response).rejects.toMatchObject({ code: "CANCELLED" });
    await expect.poll(leftovers, { timeout: 20_000 }).toEqual([]);
    expect(text("f")).toBe("old");

    const other = agent.files.write();
    other.requests.on("error", () => {});
    other.requests.write({ open: { path: "/f" } });
    other.requests.write({ data: Buffer.from("new") });
    await expect.poll(leftovers, { timeout: 20_000 }).toHaveLength(1);
    const lost = other.response.catch(() => {});
    await agent.session.close();
    await lost;
    agent.session = await agent.connect();
    await expect.poll(leftovers, { timeout: 20_000 }).toEqual([]);
    expect(text("f")).toBe("old");
  });
});

describe("MakeDirectory", () => {
  it("makes one, with what it is asked for", async () => {
    await agent.files.makeDirectory({ path: "/d" });
    await agent.files.makeDirectory({ path: "/d/e/", mode: 0o1777, uid: 3, gid: 4 });
    expect([statSync(at("d")).mode & 0o7777, statSync(at("d/e")).mode & 0o7777]).toEqual([0o755, 0o1777]);
    expect(statSync(at("d/e"))).toMatchObject({ uid: 3, gid: 4 });
    await expect(agent.files.makeDirectory({ path: "/d" })).rejects.toMatchObject({ reason: "FILE_EXISTS" });
    await expect(agent.files.makeDirectory({ path: "/x/y" })).rejects.toMatchObject({ reason: "FILE_NOT_FOUND" });
    await expect(agent.files.makeDirectory({ path: "/" })).rejects.toMatchObject({ reason: "INVALID_PATH" });
    const mode = agent.files.makeDirectory({ path: "/m", mode: 0o77777 });
    await expect(mode).rejects.toMatchObject({ reason: "INVALID_MODE" });
  });

  it("makes parents, through links too, and bears what is there", async () => {
    mkdirSync(at("real"));
    symlinkSync("/real", at("link"));
    symlinkSync("/nowhere", at("dangling"));
    await agent.files.makeDirectory({ path: "/link/a/b/c", parents: true, mode: 0o700, uid: 9 });
    expect([statSync(at("real/a")).mode & 0o777, statSync(at("real/a/b/c")).mode & 0o777]).toEqual([0o755, 0o700]);
    expect([statSync(at("real/a")).uid, statSync(at("real/a/b/c")).uid]).toEqual([9, 9]);
    await agent.files.makeDirectory({ path: "/link/a/b/c", parents: true });
    await agent.files.makeDirectory({ path: "/", parents: true });
    expect(statSync(at("real/a/b/c")).mode & 0o777).toBe(0o700);
    put("file");
    const file = agent.files.makeDirectory({ path: "/file", parents: true });
    await expect(file).rejects.toMatchObject({ reason: "NOT_A_DIRECTORY" });
    const dangling = agent.files.makeDirectory({ path: "/dangling/x", parents: true });
    await expect(dangling).rejects.toMatchObject({ reason: "FILE_EXISTS" });
    symlinkSync("../../outside", at("out"));
    const out = agent.files.makeDirectory({ path: "/out/x", parents: true });
    await expect(out).rejects.toMatchObject({ reason: "FILE_EXISTS" });
    expect(readdirSync(outside)).toEqual(["secret"]);
  });
});

describe("MakeLink", () => {
  it("makes both kinds", async () => {
    put("f", "x");
    await agent.files.makeLink({ path: "/soft", target: "../any where" });
    await agent.files.makeLink({ path: "/hard", target: "/f", hard: true });
    await agent.files.makeLink({ path: "/hard-to-soft", target: "/soft", hard: true });
    expect([readlinkSync(at("soft")), readlinkSync(at("hard-to-soft"))]).toEqual(["../any where", "../any where"]);
    expect(statSync(at("hard")).ino).toBe(statSync(at("f")).ino);
    mkdirSync(at("d"));
    for (const [request, reason] of [
      [{ path: "/soft", target: "t" }, "FILE_EXISTS"],
      [{ path: "/n", target: "" }, "INVALID_PATH"],
      [{ path: "/n", target: "x".repeat(4096) }, "INVALID_PATH"],
      [{ path: "/n", target: "relative", hard: true }, "INVALID_PATH"],
      [{ path: "/n", target: "/d", hard: true }, "IS_A_DIRECTORY"],
      [{ path: "/n", target: "/none", hard: true }, "FILE_NOT_FOUND"],
      [{ path: "/n", target: "/../outside/secret", hard: true }, "FILE_NOT_FOUND"],
      [{ path: "/n/", target: "t" }, "FILE_NOT_FOUND"],
    ] as const) {
      await expect(agent.files.makeLink(request)).rejects.toMatchObject({ reason });
    }
    mkdirSync(at("other"));
    execFileSync("mount", ["-t", "tmpfs", "tmpfs", at("other")]);
    try {
      const across = agent.files.makeLink({ path: "/other/f", target: "/f", hard: true });
      await expect(across).rejects.toMatchObject({ reason: "CROSS_DEVICE" });
      const moved = agent.files.move({ from: "/f", to: "/other/f" });
      await expect(moved).rejects.toMatchObject({ reason: "CROSS_DEVICE" });
    } finally {
      execFileSync("umount", [at("other")]);
    }
  });
});

describe("Remove", () => {
  it("removes a name, not what it leads to", async () => {
    put("d/f", "x");
    symlinkSync("d", at("l"));
    await agent.files.remove({ path: "/l" });
    expect([existsSync(at("l")), existsSync(at("d/f"))]).toEqual([false, true]);
    await expect(agent.files.remove({ path: "/d" })).rejects.toMatchObject({ reason: "DIRECTORY_NOT_EMPTY" });
    await expect(agent.files.remove({ path: "/d/f/" })).rejects.toMatchObject({ reason: "NOT_A_DIRECTORY" });
    await agent.files.remove({ path: "/d/f" });
    await agent.files.remove({ path: "/d/" });
    await expect(agent.files.remove({ path: "/d" })).rejects.toMatchObject({ reason: "FILE_NOT_FOUND" });
    await agent.files.remove({ path: "/d", force: true });
    await agent.files.remove({ path: "/no/such", force: true, recursive: true });
    for (const path of ["/", "/..", "/d/."]) {
      await expect(agent.files.remove({ path, recursive: true })).rejects.toMatchObject({ reason: "INVALID_PATH" });
    }
  });

  it("removes trees: wide, deep, with links out of the root", async () => {
    symlinkSync(outside, join(root, "out"));
    mkdirSync(at("tree"));
    symlinkSync(outside, at("tree/out"));
    for (let i = 0; i < 3000; i++) writeFileSync(at(`tree/f${i}`), "");
    const deep = "import os\nfor i in range(3000):\n  os.mkdir('d'*20); open('f','w').close(); os.chdir('d'*20)";
    execFileSync("python3", ["-c", deep], { cwd: at("tree") });
    const before = agent.descriptors("agent");
    await agent.files.remove({ path: "/tree", recursive: true });
    expect([existsSync(at("tree")), readdirSync(outside)]).toEqual([false, ["secret"]]);
    await agent.files.remove({ path: "/out", recursive: true });
    expect([readdirSync(root), readdirSync(outside)]).toEqual([[], ["secret"]]);
    expect(agent.descriptors("agent")).toBe(before);
  });

  it("says what could not be removed", async () => {
    mkdirSync(at("tree/mounted"), { recursive: true });
    execFileSync("mount", ["-t", "tmpfs", "tmpfs", at("tree/mounted")]);
    try {
      const removed = agent.files.remove({ path: "/tree", recursive: true });
      await expect(removed).rejects.toMatchObject({
        reason: "FILE_FAILED",
        metadata: { path: "/tree/mounted", errno: "EBUSY" },
      });
    } finally {
      execFileSync("umount", [at("tree/mounted")]);
    }
  });
});

describe("Move", () => {
  it("renames, and replaces unless told not to", async () => {
    put("a", "a");
    put("b", "b");
    await expect(agent.files.move({ from: "/a", to: "/b", exclusive: true })).rejects.toMatchObject({
      ...{ code: "ALREADY_EXISTS", reason: "FILE_EXISTS" },
      resource: { type: "file", name: "/b" },
    });
    await agent.files.move({ from: "/a", to: "/b" });
    expect([text("b"), existsSync(at("a"))]).toEqual(["a", false]);
    await agent.files.move({ from: "/b", to: "/c", exclusive: true });
    mkdirSync(at("d/e"), { recursive: true });
    await agent.files.move({ from: "/d/", to: "/f/" });
    expect(readdirSync(root).sort()).toEqual(["c", "f"]);
    put("g/x");
    for (const [from, to, reason] of [
      ["/none", "/x", "FILE_NOT_FOUND"],
      ["/f", "/f/e/f", "INVALID_PATH"],
      ["/f", "/g", "DIRECTORY_NOT_EMPTY"],
      ["/c", "/g", "IS_A_DIRECTORY"],
      ["/g", "/c", "NOT_A_DIRECTORY"],
      ["/c/", "/x", "NOT_A_DIRECTORY"],
      ["/c", "/x/", "NOT_A_DIRECTORY"],
      ["/", "/x", "INVALID_PATH"],
      ["/c", "/..", "INVALID_PATH"],
    ] as const) {
      await expect(agent.files.move({ from, to })).rejects.toMatchObject({ reason });
    }
  });
});

describe("SetAttributes", () => {
  it("changes what is named, to the nanosecond", async () => {
    put("f", "x");
    chmodSync(at("f"), 0o4711);
    await agent.files.setAttributes({
      path: "/f",
      modifiedAt: { seconds: -5, nanos: 123_456_789 },
      accessedAt: { seconds: 2 ** 31, nanos: 1 },
    });
    expect((await agent.files.stat({ path: "/f" })).file).toMatchObject({
      mode: 0o4711,
      modifiedAt: { seconds: -5, nanos: 123_456_789 },
      accessedAt: { seconds: 2 ** 31, nanos: 1 },
    });
    await agent.files.setAttributes({ path: "/f", uid: 5 });
    expect(statSync(at("f"))).toMatchObject({ uid: 5, gid: 0, mode: 0o104711 });
    await agent.files.setAttributes({ path: "/f", gid: 6, mode: 0 });
    expect(statSync(at("f"))).toMatchObject({ uid: 5, gid: 6, mode: 0o100000 });
    await agent.files.setAttributes({ path: "/", mode: 0o711 });
    expect(statSync(root).mode & 0o777).toBe(0o711);
  });

  it("follows a link or changes it itself", async () => {
    put("f", "x");
    symlinkSync("/f", at("l"));
    await agent.files.setAttributes({ path: "/l", uid: 4, modifiedAt: { seconds: 9 } });
    expect([lstatSync(at("l")).uid, lstatSync(at("l")).mtimeMs, statSync(at("f")).uid]).toEqual([4, 9000, 0]);
    await agent.files.setAttributes({ path: "/l", follow: true, mode: 0o600, uid: 7 });
    expect(statSync(at("f"))).toMatchObject({ uid: 7, mode: 0o100600 });
    for (const [change, reason] of [
      [{ mode: 0o600 }, "INVALID_MODE"],
      [{ mode: 0o10000, follow: true }, "INVALID_MODE"],
      [{ uid: 0xffff_ffff }, "INVALID_MODE"],
      [{ modifiedAt: { seconds: 1, nanos: 1e9 } }, "INVALID_SIZE"],
      [{ modifiedAt: { seconds: 1, nanos: -1 } }, "INVALID_SIZE"],
    ] as const) {
      await expect(agent.files.setAttributes({ path: "/l", ...change })).rejects.toMatchObject({ reason });
    }
    const none = agent.files.setAttributes({ path: "/none", uid: 1 });
    await expect(none).rejects.toMatchObject({ reason: "FILE_NOT_FOUND" });
  });
});

describe("Watch", () => {
  async function changes(path: string, act: () => void, last: string): Promise<string[]> {
    const call = agent.files.watch({ path });
    const seen: string[] = [];
    call.on("error", () => {});
    const over = new Promise<void>((resolve) => {
      call.on("end", resolve);
      call.on("data", ({ subscribed, changed }) => {
        if (subscribed) return act();
        const one = `${changed?.change} ${changed?.name}`;
        if (seen.at(-1) !== one) seen.push(one);
        if (one === last) resolve();
      });
    });
    await over;
    call.cancel();
    return seen;
  }

  it("tells what happens in a directory", async () => {
    put("d/old", "x");
    const act = () => {
      writeFileSync(at("d/new"), "x");
      chmodSync(at("d/new"), 0o600);
      execFileSync("mv", [at("d/old"), at("d/moved")]);
      rmSync(at("d/new"));
      mkdirSync(at("d/last"));
    };
    expect(await changes("/d", act, "created last")).toEqual([
      ...["created new", "modified new", "attributes new", "moved old", "moved moved", "removed new", "created last"],
    ]);
  });

  it("tells what happens to a file, up to its end", async () => {
    put("f", "x");
    symlinkSync("f", at("l"));
    const act = () => {
      writeFileSync(at("f"), "more");
      execFileSync("mv", [at("f"), at("g")]);
      rmSync(at("g"));
    };
    expect(await changes("/l", act, "")).toEqual(["modified ", "moved ", "attributes ", "removed "]);
  });

  it("counts what it loses, and leaves no descriptor", async () => {
    mkdirSync(at("d"));
    const before = agent.descriptors("agent");
    const call = agent.files.watch({ path: "/d" });
    call.on("error", () => {});
    await once(call, "data");
    call.pause();
    for (let i = 0; i < 60_000; i++) mkdirSync(at(`d/${i}`));
    let [got, lost] = [0, 0];
    const counted = new Promise<void>((resolve) => {
      call.on("data", ({ changed, lost: gap }) => {
        if (changed) got += 1;
        lost += Number(gap?.count ?? 0);
        if (lost > 0) resolve();
      });
    });
    call.resume();
    await counted;
    expect(got).toBeGreaterThan(1000);
    call.cancel();
    await expect.poll(() => agent.descriptors("agent"), { timeout: 20_000 }).toBe(before);
    await expect(collect(agent.files.watch({ path: "/none" }))).rejects.toMatchObject({ reason: "FILE_NOT_FOUND" });
  });

  it("says when the kernel has no more", async () => {
    const limit = Number(readFileSync("/proc/sys/fs/inotify/max_user_instances", "utf8"));
    if (limit > 1000) return;
    const calls = Array.from({ length: limit + 1 }, () => agent.files.watch({ path: "/" }));
    const reasons = calls.map(
      (call) =>
        new Promise<string>((resolve) => {
          call.on("data", () => resolve("subscribed"));
          call.on("error", (error) => resolve(error.message));
        }),
    );
    expect((await Promise.all(reasons)).some((reason) => reason.includes("no room for another watch"))).toBe(true);
    for (const call of calls) call.cancel();
  });
});
