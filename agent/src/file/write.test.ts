import { execFileSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
} from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { writeAll } from "./testing/client.js";
import { useRootedAgent } from "./testing/rooted-agent.js";

const zone = useRootedAgent();
const { root, outside, at, put, text } = zone;

describe("Write", () => {
  const leftovers = () => readdirSync(root).filter((name) => name.startsWith(".zone"));

  it("makes a file with the mode and owner that are asked for", async () => {
    expect(await writeAll(zone.agent.files, { path: "/new" }, "hello")).toMatchObject({ writtenBytes: 5 });
    expect([text("new"), statSync(at("new")).mode & 0o7777]).toEqual(["hello", 0o644]);
    await writeAll(zone.agent.files, { path: "/own", mode: 0o4755, uid: 5, gid: 6 }, Buffer.alloc(700_000, 1));
    expect(statSync(at("own"))).toMatchObject({ size: 700_000, uid: 5, gid: 6, mode: 0o104755 });
  });

  it("replaces a file by another, which inherits its mode and owner", async () => {
    put("f", "old content");
    chmodSync(at("f"), 0o640);
    chownSync(at("f"), 5, 6);
    const { ino } = statSync(at("f"));
    await writeAll(zone.agent.files, { path: "/f" }, "new");
    expect(statSync(at("f"))).toMatchObject({ uid: 5, gid: 6, mode: 0o100640, size: 3 });
    expect(statSync(at("f")).ino).not.toBe(ino);
    await writeAll(zone.agent.files, { path: "/f", mode: 0o600, uid: 0 }, "");
    expect(statSync(at("f"))).toMatchObject({ uid: 0, gid: 6, mode: 0o100600, size: 0 });
    expect(leftovers()).toEqual([]);
  });

  it("writes through links as a process of the root would", async () => {
    put("d/f", "old");
    symlinkSync("/d/f", at("absolute"));
    symlinkSync("../absolute", at("d/relative"));
    symlinkSync("missing", at("d/dangling"));
    await writeAll(zone.agent.files, { path: "/d/relative" }, "new");
    expect([text("d/f"), readlinkSync(at("absolute"))]).toEqual(["new", "/d/f"]);
    await writeAll(zone.agent.files, { path: "/d/dangling" }, "made");
    expect(text("d/missing")).toBe("made");
    await writeAll(zone.agent.files, { path: "/d/relative", append: true }, "er");
    expect(text("d/f")).toBe("newer");
    symlinkSync("../outside/secret", at("out"));
    await expect(writeAll(zone.agent.files, { path: "/out" }, "x")).rejects.toMatchObject({ reason: "FILE_NOT_FOUND" });
    symlinkSync("around", at("around"));
    await expect(writeAll(zone.agent.files, { path: "/around" }, "x")).rejects.toMatchObject({
      reason: "TOO_MANY_LINKS",
    });
    expect(readFileSync(join(outside, "secret"), "utf8")).toBe("secret");
  });

  it("writes into a file from an offset, or at its end", async () => {
    put("f", "0123456789");
    await writeAll(zone.agent.files, { path: "/f", offset: 3 }, "abc");
    expect(text("f")).toBe("012abc6789");
    await writeAll(zone.agent.files, { path: "/f", offset: 12 }, "z");
    expect(text("f")).toBe("012abc6789\0\0z");
    await writeAll(zone.agent.files, { path: "/f", append: true }, "!");
    expect(text("f")).toBe("012abc6789\0\0z!");
    await writeAll(zone.agent.files, { path: "/log", append: true, mode: 0o600, uid: 3 }, "1");
    await writeAll(zone.agent.files, { path: "/at", offset: 1 }, "1");
    expect([text("log"), statSync(at("log")).mode & 0o777, text("at")]).toEqual(["1", 0o600, "\x001"]);
    const both = writeAll(zone.agent.files, { path: "/f", offset: 1, append: true }, "x");
    await expect(both).rejects.toMatchObject({ reason: "INVALID_SIZE" });
  });

  it("with `exclusive` replaces nothing, not even a link that leads nowhere", async () => {
    put("f", "old");
    symlinkSync("nowhere", at("l"));
    for (const open of [{ path: "/f" }, { path: "/l" }, { path: "/f", append: true }, { path: "/f", offset: 0 }]) {
      const written = writeAll(zone.agent.files, { ...open, exclusive: true }, "x");
      await expect(written).rejects.toMatchObject({ code: "ALREADY_EXISTS", reason: "FILE_EXISTS" });
    }
    await writeAll(zone.agent.files, { path: "/g", exclusive: true }, "x");
    expect([text("f"), text("g"), leftovers()]).toEqual(["old", "x", []]);
  });

  it("with `size` replaces only by exactly so many bytes", async () => {
    put("f", "old");
    expect(await writeAll(zone.agent.files, { path: "/f", size: 700_000 }, Buffer.alloc(700_000, "n"))).toMatchObject({
      writtenBytes: 700_000,
    });
    expect(text("f")).toBe("n".repeat(700_000));
    expect(await writeAll(zone.agent.files, { path: "/empty", size: 0 }, "")).toMatchObject({ writtenBytes: 0 });
    for (const [size, data] of [
      [4, "new"],
      [2, "new"],
      [0, "new"],
      [3, ""],
    ] as const) {
      const written = writeAll(zone.agent.files, { path: "/empty", size }, data);
      await expect(written).rejects.toMatchObject({ code: "INVALID_ARGUMENT", reason: "INVALID_SIZE" });
    }
    // A client that goes on sending is told at once.
    const call = zone.agent.files.write();
    call.requests.on("error", () => {});
    call.requests.write({ open: { path: "/empty", size: 2 } });
    call.requests.write({ data: Buffer.from("new") });
    await expect(call.response).rejects.toMatchObject({ reason: "INVALID_SIZE" });
    for (const more of [{ offset: 0 }, { append: true }]) {
      const written = writeAll(zone.agent.files, { path: "/empty", size: 3, ...more }, "new");
      await expect(written).rejects.toMatchObject({ reason: "INVALID_SIZE" });
    }
    expect([text("empty"), leftovers(), readdirSync(root).sort()]).toEqual(["", [], ["empty", "f"]]);
  });

  it("refuses what cannot be written to, and leaves nothing", async () => {
    mkdirSync(at("d"));
    for (const path of ["/d", "/d/", "/new/"]) {
      await expect(writeAll(zone.agent.files, { path }, "x")).rejects.toMatchObject({ reason: "IS_A_DIRECTORY" });
    }
    for (const path of ["/", "/d/..", "/."]) {
      await expect(writeAll(zone.agent.files, { path }, "x")).rejects.toMatchObject({ reason: "INVALID_PATH" });
    }
    await expect(writeAll(zone.agent.files, { path: "/no/f" }, "x")).rejects.toMatchObject({
      reason: "FILE_NOT_FOUND",
    });
    const mode = writeAll(zone.agent.files, { path: "/f", mode: 0o10000 }, "x");
    await expect(mode).rejects.toMatchObject({ reason: "INVALID_MODE" });
    const uid = writeAll(zone.agent.files, { path: "/f", uid: 0xffff_ffff }, "x");
    await expect(uid).rejects.toMatchObject({ reason: "INVALID_MODE" });
    mkdirSync(at("full"));
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=64k", "tmpfs", at("full")]);
    try {
      const full = writeAll(zone.agent.files, { path: "/full/f" }, Buffer.alloc(1 << 20));
      await expect(full).rejects.toMatchObject({ code: "RESOURCE_EXHAUSTED", reason: "NO_SPACE" });
      expect(readdirSync(at("full"))).toEqual([]);
      execFileSync("mount", ["-o", "remount,ro", at("full")]);
      for (const path of ["/full/f"]) {
        await expect(writeAll(zone.agent.files, { path }, "x")).rejects.toMatchObject({ reason: "READ_ONLY_FS" });
        await expect(zone.agent.files.makeDirectory({ path })).rejects.toMatchObject({ reason: "READ_ONLY_FS" });
      }
    } finally {
      execFileSync("umount", [at("full")]);
    }
    expect(readdirSync(root).sort()).toEqual(["d", "full"]);
  });

  it("keeps to the order and size of messages", async () => {
    const first = zone.agent.files.write();
    first.requests.on("error", () => {});
    first.requests.write({ data: Buffer.from("x") });
    await expect(first.response).rejects.toMatchObject({ code: "INVALID_ARGUMENT", reason: "OPEN_EXPECTED" });
    const none = zone.agent.files.write();
    none.requests.end();
    await expect(none.response).rejects.toMatchObject({ reason: "OPEN_EXPECTED" });
    const twice = zone.agent.files.write();
    twice.requests.on("error", () => {});
    twice.requests.write({ open: { path: "/f" } });
    twice.requests.write({ open: { path: "/f" } });
    await expect(twice.response).rejects.toMatchObject({ reason: "OPEN_EXPECTED" });
    const large = zone.agent.files.write();
    large.requests.on("error", () => {});
    large.requests.write({ open: { path: "/f" } });
    large.requests.write({ data: Buffer.alloc(256 * 1024 + 1) });
    await expect(large.response).rejects.toMatchObject({ reason: "INVALID_SIZE" });
    expect(readdirSync(root)).toEqual([]);
  });

  it("changes nothing when it is cancelled, or its link breaks", async () => {
    put("f", "old");
    const abort = new AbortController();
    const call = zone.agent.files.write({ signal: abort.signal });
    call.requests.on("error", () => {});
    call.requests.write({ open: { path: "/f" } });
    call.requests.write({ data: Buffer.from("new") });
    await expect.poll(leftovers, { timeout: 20_000 }).toHaveLength(1);
    abort.abort();
    await expect(call.response).rejects.toMatchObject({ code: "CANCELLED" });
    await expect.poll(leftovers, { timeout: 20_000 }).toEqual([]);
    expect(text("f")).toBe("old");

    const other = zone.agent.files.write();
    other.requests.on("error", () => {});
    other.requests.write({ open: { path: "/f" } });
    other.requests.write({ data: Buffer.from("new") });
    await expect.poll(leftovers, { timeout: 20_000 }).toHaveLength(1);
    const lost = other.response.catch(() => {});
    await zone.agent.session.close();
    await lost;
    zone.agent.session = await zone.agent.connect();
    await expect.poll(leftovers, { timeout: 20_000 }).toEqual([]);
    expect(text("f")).toBe("old");
  });
});
