import { execFileSync } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  chownSync,
  linkSync,
  mkdirSync,
  readdirSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { agent as messages } from "@zone/proto";
import { describe, expect, it } from "vitest";
import { collect, readAll, writeAll } from "./testing/client.js";
import { useRootedAgent } from "./testing/rooted-agent.js";

const zone = useRootedAgent();
const { outside, at, put } = zone;
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
    const file = (await zone.agent.files.stat({ path: "/d/f" })).file;
    const { ino, blocks } = statSync(at("d/f"));
    expect(file).toMatchObject({
      ...{ name: "f", type: FileType.FILE_TYPE_REGULAR, mode: 0o4751, uid: 7, gid: 8, size: 5, links: 2, inode: ino },
      ...{ allocatedBytes: blocks * 512, linkTarget: "" },
      modifiedAt: { seconds: 200, nanos: 500_000_000 },
      accessedAt: { seconds: 100, nanos: 0 },
    });
    expect(Number(file?.changedAt?.seconds)).toBeGreaterThan(1e9);
    const link = (await zone.agent.files.stat({ path: "/l" })).file;
    expect(link).toMatchObject({ name: "l", type: FileType.FILE_TYPE_SYMLINK, linkTarget: "/d/f" });
    expect((await zone.agent.files.stat({ path: "/l", follow: true })).file).toMatchObject({ name: "l", size: 5 });
    expect((await zone.agent.files.stat({ path: "/" })).file).toMatchObject({
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
      expect((await zone.agent.files.stat({ path: `/${name}` })).file).toMatchObject({ name, type });
      // None of them is ever opened: a FIFO would wait for its other end.
      const reason = "NOT_A_FILE";
      await expect(readAll(zone.agent.files, { path: `/${name}` })).rejects.toMatchObject({ reason });
      await expect(writeAll(zone.agent.files, { path: `/${name}` }, "x")).rejects.toMatchObject({ reason });
      await expect(writeAll(zone.agent.files, { path: `/${name}`, append: true }, "x")).rejects.toMatchObject({
        reason,
      });
      await expect(writeAll(zone.agent.files, { path: `/${name}`, offset: 0 }, "x")).rejects.toMatchObject({ reason });
    }
    server.close();
  });

  it("never leaves the root", async () => {
    symlinkSync("../outside/secret", at("up"));
    symlinkSync(join(outside, "secret"), at("absolute"));
    symlinkSync("/", at("self"));
    symlinkSync("/proc/self/root", at("magic"));
    for (const path of ["/up", "/absolute", "/../outside/secret", "/self/../../outside/secret"]) {
      await expect(zone.agent.files.stat({ path, follow: true })).rejects.toMatchObject({ reason: "FILE_NOT_FOUND" });
      await expect(readAll(zone.agent.files, { path })).rejects.toMatchObject({ reason: "FILE_NOT_FOUND" });
    }
  });
});

describe("ReadDirectory", () => {
  it("gives pages by name", async () => {
    mkdirSync(at("d"));
    for (let i = 0; i < 2500; i++) writeFileSync(at(`d/f${String(i).padStart(4, "0")}`), "");
    symlinkSync("t", at("d/link"));
    const names: string[] = [];
    for (let after = "", more = true; more; ) {
      const page = await zone.agent.files.readDirectory({ path: "/d", after });
      expect(page.files?.length).toBeLessThanOrEqual(1000);
      names.push(...(page.files ?? []).map(({ name }) => name ?? ""));
      after = names.at(-1) ?? "";
      more = page.more ?? false;
    }
    expect(names).toEqual(readdirSync(at("d")).sort());
    const page = await zone.agent.files.readDirectory({ path: "/d", after: "f2498", limit: 2 });
    expect(page).toMatchObject({ files: [{ name: "f2499" }, { name: "link", linkTarget: "t" }], more: false });
    expect(await zone.agent.files.readDirectory({ path: "/d", after: "", limit: 1 })).toMatchObject({ more: true });
    expect((await zone.agent.files.readDirectory({ path: "/d", limit: 5000 })).files).toHaveLength(1000);
  });

  it("replaces what is not UTF-8, and follows a link to a directory", async () => {
    mkdirSync(at("d"));
    writeFileSync(Buffer.concat([Buffer.from(at("d/")), Buffer.from([0xff, 0x61])]), "");
    symlinkSync("d", at("l"));
    expect((await zone.agent.files.readDirectory({ path: "/l" })).files).toMatchObject([{ name: "\ufffda" }]);
    await expect(zone.agent.files.readDirectory({ path: "/none" })).rejects.toMatchObject({ reason: "FILE_NOT_FOUND" });
  });
});

describe("Read", () => {
  it("gives any part, in chunks", async () => {
    const bytes = Buffer.alloc(1_000_003, "abcdefg");
    writeFileSync(at("f"), bytes);
    const chunks = await collect(zone.agent.files.read({ path: "/f" }));
    expect(Math.max(...chunks.map(({ data }) => data?.length ?? 0))).toBe(256 * 1024);
    expect(Buffer.concat(chunks.map(({ data }) => data ?? Buffer.alloc(0))).equals(bytes)).toBe(true);
    const part = await readAll(zone.agent.files, { path: "/f", offset: 300_000, length: 400_000 });
    expect(part.equals(bytes.subarray(300_000, 700_000))).toBe(true);
    expect(await readAll(zone.agent.files, { path: "/f", offset: 1_000_000, length: 9 })).toHaveLength(3);
    expect(await readAll(zone.agent.files, { path: "/f", offset: 2_000_000 })).toHaveLength(0);
  });

  it("reads holes as zeros, and what proc makes up", async () => {
    put("holes");
    truncateSync(at("holes"), 600_000);
    expect((await readAll(zone.agent.files, { path: "/holes" })).equals(Buffer.alloc(600_000))).toBe(true);
    mkdirSync(at("proc"));
    execFileSync("mount", ["-t", "proc", "proc", at("proc")]);
    try {
      expect((await readAll(zone.agent.files, { path: "/proc/version" })).toString()).toContain("Linux");
      const magic = readAll(zone.agent.files, { path: "/proc/self/root/etc/passwd" });
      await expect(magic).rejects.toMatchObject({ reason: "TOO_MANY_LINKS" });
    } finally {
      execFileSync("umount", [at("proc")]);
    }
  });

  it("refuses directories and offsets that are none", async () => {
    mkdirSync(at("d"));
    await expect(readAll(zone.agent.files, { path: "/d" })).rejects.toMatchObject({ reason: "IS_A_DIRECTORY" });
    const far = readAll(zone.agent.files, { path: "/d", offset: 2 ** 60 });
    await expect(far).rejects.toMatchObject({ code: "INVALID_ARGUMENT", reason: "INVALID_SIZE" });
  });

  it("waits for a client that does not read, and ends when it goes", async () => {
    writeFileSync(at("big"), "");
    truncateSync(at("big"), 2 ** 33);
    const before = zone.agent.descriptors("agent");
    const call = zone.agent.files.read({ path: "/big" });
    call.on("error", () => {});
    await once(call, "data");
    call.pause();
    const rss = zone.agent.rss();
    await zone.agent.files.stat({ path: "/big" });
    expect(zone.agent.rss() - rss).toBeLessThan(64 << 20);
    call.cancel();
    await expect.poll(() => zone.agent.descriptors("agent"), { timeout: 20_000 }).toBe(before);
  });
});
