import { execFileSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { useRootedAgent } from "./testing/rooted-agent.js";

const zone = useRootedAgent();
const { root, outside, at, put, text } = zone;

describe("MakeDirectory", () => {
  it("makes one, with what it is asked for", async () => {
    await zone.agent.files.makeDirectory({ path: "/d" });
    await zone.agent.files.makeDirectory({ path: "/d/e/", mode: 0o1777, uid: 3, gid: 4 });
    expect([statSync(at("d")).mode & 0o7777, statSync(at("d/e")).mode & 0o7777]).toEqual([0o755, 0o1777]);
    expect(statSync(at("d/e"))).toMatchObject({ uid: 3, gid: 4 });
    await expect(zone.agent.files.makeDirectory({ path: "/d" })).rejects.toMatchObject({ reason: "FILE_EXISTS" });
    await expect(zone.agent.files.makeDirectory({ path: "/x/y" })).rejects.toMatchObject({ reason: "FILE_NOT_FOUND" });
    await expect(zone.agent.files.makeDirectory({ path: "/" })).rejects.toMatchObject({ reason: "INVALID_PATH" });
    const mode = zone.agent.files.makeDirectory({ path: "/m", mode: 0o77777 });
    await expect(mode).rejects.toMatchObject({ reason: "INVALID_MODE" });
  });

  it("makes parents, through links too, and bears what is there", async () => {
    mkdirSync(at("real"));
    symlinkSync("/real", at("link"));
    symlinkSync("/nowhere", at("dangling"));
    await zone.agent.files.makeDirectory({ path: "/link/a/b/c", parents: true, mode: 0o700, uid: 9 });
    expect([statSync(at("real/a")).mode & 0o777, statSync(at("real/a/b/c")).mode & 0o777]).toEqual([0o755, 0o700]);
    expect([statSync(at("real/a")).uid, statSync(at("real/a/b/c")).uid]).toEqual([9, 9]);
    await zone.agent.files.makeDirectory({ path: "/link/a/b/c", parents: true });
    await zone.agent.files.makeDirectory({ path: "/", parents: true });
    expect(statSync(at("real/a/b/c")).mode & 0o777).toBe(0o700);
    put("file");
    const file = zone.agent.files.makeDirectory({ path: "/file", parents: true });
    await expect(file).rejects.toMatchObject({ reason: "NOT_A_DIRECTORY" });
    const dangling = zone.agent.files.makeDirectory({ path: "/dangling/x", parents: true });
    await expect(dangling).rejects.toMatchObject({ reason: "FILE_EXISTS" });
    symlinkSync("../../outside", at("out"));
    const out = zone.agent.files.makeDirectory({ path: "/out/x", parents: true });
    await expect(out).rejects.toMatchObject({ reason: "FILE_EXISTS" });
    expect(readdirSync(outside)).toEqual(["secret"]);
  });
});

describe("MakeLink", () => {
  it("makes both kinds", async () => {
    put("f", "x");
    await zone.agent.files.makeLink({ path: "/soft", target: "../any where" });
    await zone.agent.files.makeLink({ path: "/hard", target: "/f", hard: true });
    await zone.agent.files.makeLink({ path: "/hard-to-soft", target: "/soft", hard: true });
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
      await expect(zone.agent.files.makeLink(request)).rejects.toMatchObject({ reason });
    }
    mkdirSync(at("other"));
    execFileSync("mount", ["-t", "tmpfs", "tmpfs", at("other")]);
    try {
      const across = zone.agent.files.makeLink({ path: "/other/f", target: "/f", hard: true });
      await expect(across).rejects.toMatchObject({ reason: "CROSS_DEVICE" });
      const moved = zone.agent.files.move({ from: "/f", to: "/other/f" });
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
    await zone.agent.files.remove({ path: "/l" });
    expect([existsSync(at("l")), existsSync(at("d/f"))]).toEqual([false, true]);
    await expect(zone.agent.files.remove({ path: "/d" })).rejects.toMatchObject({ reason: "DIRECTORY_NOT_EMPTY" });
    await expect(zone.agent.files.remove({ path: "/d/f/" })).rejects.toMatchObject({ reason: "NOT_A_DIRECTORY" });
    await zone.agent.files.remove({ path: "/d/f" });
    await zone.agent.files.remove({ path: "/d/" });
    await expect(zone.agent.files.remove({ path: "/d" })).rejects.toMatchObject({ reason: "FILE_NOT_FOUND" });
    await zone.agent.files.remove({ path: "/d", force: true });
    await zone.agent.files.remove({ path: "/no/such", force: true, recursive: true });
    for (const path of ["/", "/..", "/d/."]) {
      await expect(zone.agent.files.remove({ path, recursive: true })).rejects.toMatchObject({
        reason: "INVALID_PATH",
      });
    }
  });

  it("removes trees: wide, deep, with links out of the root", async () => {
    symlinkSync(outside, join(root, "out"));
    mkdirSync(at("tree"));
    symlinkSync(outside, at("tree/out"));
    for (let i = 0; i < 3000; i++) writeFileSync(at(`tree/f${i}`), "");
    const deep = "import os\nfor i in range(3000):\n  os.mkdir('d'*20); open('f','w').close(); os.chdir('d'*20)";
    execFileSync("python3", ["-c", deep], { cwd: at("tree") });
    const before = zone.agent.descriptors("agent");
    await zone.agent.files.remove({ path: "/tree", recursive: true });
    expect([existsSync(at("tree")), readdirSync(outside)]).toEqual([false, ["secret"]]);
    await zone.agent.files.remove({ path: "/out", recursive: true });
    expect([readdirSync(root), readdirSync(outside)]).toEqual([[], ["secret"]]);
    expect(zone.agent.descriptors("agent")).toBe(before);
  });

  it("says what could not be removed", async () => {
    mkdirSync(at("tree/mounted"), { recursive: true });
    execFileSync("mount", ["-t", "tmpfs", "tmpfs", at("tree/mounted")]);
    try {
      const removed = zone.agent.files.remove({ path: "/tree", recursive: true });
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
    await expect(zone.agent.files.move({ from: "/a", to: "/b", exclusive: true })).rejects.toMatchObject({
      ...{ code: "ALREADY_EXISTS", reason: "FILE_EXISTS" },
      resource: { type: "file", name: "/b" },
    });
    await zone.agent.files.move({ from: "/a", to: "/b" });
    expect([text("b"), existsSync(at("a"))]).toEqual(["a", false]);
    await zone.agent.files.move({ from: "/b", to: "/c", exclusive: true });
    mkdirSync(at("d/e"), { recursive: true });
    await zone.agent.files.move({ from: "/d/", to: "/f/" });
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
      await expect(zone.agent.files.move({ from, to })).rejects.toMatchObject({ reason });
    }
  });
});

describe("SetAttributes", () => {
  it("changes what is named, to the nanosecond", async () => {
    put("f", "x");
    chmodSync(at("f"), 0o4711);
    await zone.agent.files.setAttributes({
      path: "/f",
      modifiedAt: { seconds: -5, nanos: 123_456_789 },
      accessedAt: { seconds: 2 ** 31, nanos: 1 },
    });
    expect((await zone.agent.files.stat({ path: "/f" })).file).toMatchObject({
      mode: 0o4711,
      modifiedAt: { seconds: -5, nanos: 123_456_789 },
      accessedAt: { seconds: 2 ** 31, nanos: 1 },
    });
    await zone.agent.files.setAttributes({ path: "/f", uid: 5 });
    expect(statSync(at("f"))).toMatchObject({ uid: 5, gid: 0, mode: 0o104711 });
    await zone.agent.files.setAttributes({ path: "/f", gid: 6, mode: 0 });
    expect(statSync(at("f"))).toMatchObject({ uid: 5, gid: 6, mode: 0o100000 });
    await zone.agent.files.setAttributes({ path: "/", mode: 0o711 });
    expect(statSync(root).mode & 0o777).toBe(0o711);
  });

  it("follows a link or changes it itself", async () => {
    put("f", "x");
    symlinkSync("/f", at("l"));
    await zone.agent.files.setAttributes({ path: "/l", uid: 4, modifiedAt: { seconds: 9 } });
    expect([lstatSync(at("l")).uid, lstatSync(at("l")).mtimeMs, statSync(at("f")).uid]).toEqual([4, 9000, 0]);
    await zone.agent.files.setAttributes({ path: "/l", follow: true, mode: 0o600, uid: 7 });
    expect(statSync(at("f"))).toMatchObject({ uid: 7, mode: 0o100600 });
    for (const [change, reason] of [
      [{ mode: 0o600 }, "INVALID_MODE"],
      [{ mode: 0o10000, follow: true }, "INVALID_MODE"],
      [{ uid: 0xffff_ffff }, "INVALID_MODE"],
      [{ modifiedAt: { seconds: 1, nanos: 1e9 } }, "INVALID_SIZE"],
      [{ modifiedAt: { seconds: 1, nanos: -1 } }, "INVALID_SIZE"],
    ] as const) {
      await expect(zone.agent.files.setAttributes({ path: "/l", ...change })).rejects.toMatchObject({ reason });
    }
    const none = zone.agent.files.setAttributes({ path: "/none", uid: 1 });
    await expect(none).rejects.toMatchObject({ reason: "FILE_NOT_FOUND" });
  });
});
