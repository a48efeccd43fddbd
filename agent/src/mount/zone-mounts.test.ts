import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { createClient, MountService } from "@zone/proto";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { RunningAgent } from "../testing/running-agent.js";
import { MountLab } from "./testing/lab.js";

let lab: MountLab;
beforeAll(async () => {
  lab = await MountLab.start();
  lab.disk("v1", "ext4", 24);
  lab.disk("ro", "ext4", 16, { readOnly: true });
});
afterAll(() => lab.end());

/** Every test leaves nothing: nothing mounted, no folder. */
afterEach(async () => {
  for (const target of readdirSync(lab.run("mounts")))
    await lab.mounts.unmount({ target, recursive: true, lazy: true });
  expect(lab.mounted()).toEqual([]);
  for (const name of ["mounts", "mount-files", "mount-stage"]) {
    expect(existsSync(lab.run(name)) ? readdirSync(lab.run(name)) : []).toEqual([]);
  }
});

const mount = (spec: object) => lab.mounts.mount({ mount: spec });
const at = (...names: string[]) => lab.run("mounts", ...names);

describe("a mount of the zone", () => {
  it("is a tmpfs with its options and attributes", async () => {
    await mount({ type: "tmpfs", target: "t", options: ["size=1m", "mode=1770", "nosuid", "nodev,noexec", "noatime"] });
    expect(lab.mounted()).toMatchObject([{ target: "/mounts/t", type: "tmpfs" }]);
    expect(lab.mounted()[0]?.options).toEqual(["rw", "nosuid", "nodev", "noexec", "noatime"]);
    expect(statSync(at("t")).mode & 0o7777).toBe(0o1770);
    expect(await lab.mounts.stats({ target: "t" })).toMatchObject({
      totalBytes: 1 << 20,
      type: "tmpfs",
      readOnly: false,
    });
    const { mounts } = await lab.mounts.list({});
    expect(mounts?.find(({ target }) => target === at("t"))).toMatchObject({
      type: "tmpfs",
      source: "tmpfs",
      root: "/",
    });
    await lab.mounts.unmount({ target: "t" });
    await expect(lab.mounts.stats({ target: "t" })).rejects.toMatchObject({ reason: "MOUNT_UNKNOWN" });
  });

  it("is a disk, by serial, with what was written to it", async () => {
    await mount({ type: "ext4", source: "serial:v1", target: "v" });
    writeFileSync(at("v", "kept"), "kept");
    await lab.mounts.unmount({ target: "v" });
    await mount({ type: "ext4", source: "serial:v1", target: "v", options: ["ro"] });
    expect(readFileSync(at("v", "kept"), "utf8")).toBe("kept");
    expect(() => writeFileSync(at("v", "x"), "")).toThrow("EROFS");
    expect(await lab.mounts.stats({ target: "v" })).toMatchObject({ type: "ext4", readOnly: true });
    expect((await lab.mounts.list({})).mounts?.at(-1)?.fsOptions).toContain("ro");
  });

  it("is read-only alone when the disk is mounted writable elsewhere", async () => {
    await mount({ type: "ext4", source: "serial:v1", target: "v" });
    await mount({ type: "ext4", source: "serial:v1", target: "w", options: ["ro"] });
    writeFileSync(at("v", "both"), "both");
    expect(readFileSync(at("w", "both"), "utf8")).toBe("both");
    expect(() => writeFileSync(at("w", "x"), "")).toThrow("EROFS");
  });

  it("needs ro for a disk that can only be read", async () => {
    const spec = { type: "ext4", source: "serial:ro", target: "r" };
    await expect(mount(spec)).rejects.toMatchObject({ code: "FAILED_PRECONDITION", reason: "READ_ONLY_FS" });
    await mount({ ...spec, options: ["ro"] });
    await expect(mount({ ...spec, target: "s", options: ["ro"], subdirectory: "none" })).rejects.toMatchObject({
      reason: "READ_ONLY_FS",
    });
  });

  it("is a folder of a file system, made when missing", async () => {
    await mount({ type: "ext4", source: "serial:v1", target: "v", subdirectory: "a/b" });
    writeFileSync(at("v", "in-b"), "");
    expect(statSync(at("v")).mode & 0o7777).toBe(0o755);
    await mount({ type: "ext4", source: "serial:v1", target: "all" });
    expect(readdirSync(at("all", "a/b"))).toEqual(["in-b"]);
    symlinkSync("/a", at("all", "link"));
    symlinkSync("../../../../..", at("all", "out"));
    await mount({ type: "ext4", source: "serial:v1", target: "linked", subdirectory: "link/b" });
    expect(readdirSync(at("linked"))).toEqual(["in-b"]);
    // A link out of the file system leads to its own root.
    await mount({ type: "ext4", source: "serial:v1", target: "outside", subdirectory: "out/a" });
    expect(readdirSync(at("outside"))).toEqual(["b"]);
  });

  it("is a bind of another's folder, whose links lead nowhere else", async () => {
    await mount({ type: "tmpfs", target: "t" });
    mkdirSync(at("t", "x/y"), { recursive: true });
    symlinkSync("/x", at("t", "l"));
    symlinkSync(lab.work, at("t", "away"));
    await mount({ type: "bind", source: "zone:t/l/y", target: "b", options: ["ro"] });
    writeFileSync(at("t", "x/y/new"), "");
    expect(readdirSync(at("b"))).toEqual(["new"]);
    expect(() => writeFileSync(at("b", "x"), "")).toThrow("EROFS");
    writeFileSync(at("t", "file"), "");
    for (const [source, reason] of [
      ["zone:t/away", "SOURCE_NOT_FOUND"],
      ["zone:t/none", "SOURCE_NOT_FOUND"],
      ["zone:none", "SOURCE_NOT_FOUND"],
      ["zone:t/file", "INVALID_MOUNT"],
    ]) {
      await expect(mount({ type: "bind", source, target: "c" })).rejects.toMatchObject({ reason });
    }
    await lab.mounts.unmount({ target: "t" });
    expect(readdirSync(at("b"))).toEqual(["new"]);
  });

  it("is an overlay of others", async () => {
    for (const target of ["low", "mid", "up"]) await mount({ type: "tmpfs", target });
    writeFileSync(at("low", "a"), "low");
    writeFileSync(at("mid", "b"), "mid");
    for (const name of ["upper", "work"]) mkdirSync(at("up", name));
    const options = ["lowerdir=zone:mid:zone:low", "upperdir=zone:up/upper", "workdir=zone:up/work"];
    await mount({ type: "overlay", target: "o", options });
    writeFileSync(at("o", "a"), "changed");
    expect(readdirSync(at("o"))).toEqual(["a", "b"]);
    expect([readFileSync(at("low", "a"), "utf8"), readFileSync(at("up", "upper/a"), "utf8")]).toEqual([
      "low",
      "changed",
    ]);
    const none = mount({ type: "overlay", target: "p", options: ["lowerdir=zone:low/none"] });
    await expect(none).rejects.toMatchObject({ reason: "SOURCE_NOT_FOUND" });
    await lab.mounts.unmount({ target: "o" });
  });

  for (const type of ["proc", "sysfs", "devpts", "mqueue", "cgroup2"]) {
    it(`is ${type}`, async () => {
      await mount({ type, target: "k", options: ["nosuid", "nodev", "noexec", "ro"] });
      expect(lab.mounted()).toMatchObject([{ type, options: ["ro", "nosuid", "nodev", "noexec", "relatime"] }]);
    });
  }

  it("says what the kernel says", async () => {
    const bad = mount({ type: "tmpfs", target: "t", options: ["size=lots"] });
    await expect(bad).rejects.toMatchObject({ reason: "INVALID_MOUNT", message: expect.stringContaining("size") });
    const unknown = mount({ type: "tmpfs", target: "t", options: ["nosuchoption=1"] });
    await expect(unknown).rejects.toMatchObject({ message: expect.stringContaining("nosuchoption") });
    const other = mount({ type: "xfs", source: "serial:v1", target: "t" });
    await expect(other).rejects.toMatchObject({ reason: "INVALID_MOUNT" });
    const share = mount({ type: "virtiofs", source: "none", target: "t", waitMs: 20 });
    await expect(share).rejects.toMatchObject({ reason: expect.stringMatching(/DEVICE_NOT_FOUND|FS_UNSUPPORTED/) });
    const disk = mount({ type: "ext4", source: "serial:none", target: "t", waitMs: 20 });
    await expect(disk).rejects.toMatchObject({ code: "NOT_FOUND", reason: "DEVICE_NOT_FOUND" });
  });

  it("is one: a name that is taken is, also while it waits", async () => {
    const spec = { type: "tmpfs", target: "one" };
    const both = await Promise.allSettled([mount(spec), mount(spec), mount({ ...spec, options: ["bad"] })]);
    expect(both.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected", "rejected"]);
    await expect(mount(spec)).rejects.toMatchObject({ code: "ALREADY_EXISTS", reason: "MOUNT_EXISTS" });
  });
});

describe("unmounting", () => {
  it("says who uses it, and can be lazy", async () => {
    await mount({ type: "tmpfs", target: "t" });
    const user = lab.agent.exec({ spec: { argv: [Buffer.from("sleep"), Buffer.from("600")], cwd: at("t") } });
    await user.opened;
    const refused = lab.mounts.unmount({ target: "t" });
    await expect(refused).rejects.toMatchObject({
      reason: "MOUNT_BUSY",
      message: expect.stringMatching(/\d+ \(sleep\)/),
    });
    await lab.mounts.unmount({ target: "t", lazy: true });
    expect(lab.mounted()).toEqual([]);
    const { processes } = await lab.agent.processes.list({});
    for (const { id } of processes ?? []) await lab.agent.processes.signal({ id, signal: 9 });
    await user.result;
  });

  it("of what has something on it needs recursive", async () => {
    await mount({ type: "tmpfs", target: "t" });
    for (const name of ["a", "a/b"]) {
      mkdirSync(at("t", name));
      execFileSync("mount", ["-t", "tmpfs", "none", at("t", name)]);
    }
    const refused = lab.mounts.unmount({ target: "t" });
    await expect(refused).rejects.toMatchObject({ reason: "MOUNT_BUSY", message: expect.stringContaining("/t/a") });
    await lab.mounts.unmount({ target: "t", recursive: true });
  });

  it("of nothing is MOUNT_UNKNOWN", async () => {
    await expect(lab.mounts.unmount({ target: "none" })).rejects.toMatchObject({ reason: "MOUNT_UNKNOWN" });
    await expect(lab.mounts.unmount({ target: "../x" })).rejects.toMatchObject({ reason: "INVALID_MOUNT" });
    await expect(lab.mounts.unmount({ containerId: "c", target: "/x" })).rejects.toMatchObject({
      reason: "CONTAINER_UNKNOWN",
    });
    await expect(lab.mounts.list({ containerId: "a/b" })).rejects.toMatchObject({ reason: "INVALID_ID" });
  });
});

it("mounts outlive the agent", async () => {
  await mount({ type: "tmpfs", target: "t" });
  await mount({ type: "files", target: "f", files: [{ path: "a", data: Buffer.from("1") }] });
  mkdirSync(lab.run("mount-files", "99")); // as of an agent that ended while it made one
  writeFileSync(at("t", "kept"), "");
  await lab.agent.killAgent();
  expect(existsSync(lab.run("mount-files", "99"))).toBe(false);
  expect(readdirSync(at("t"))).toEqual(["kept"]);
  await expect(mount({ type: "tmpfs", target: "t" })).rejects.toMatchObject({ reason: "MOUNT_EXISTS" });
  await lab.mounts.updateFiles({ target: "f", files: [{ path: "a", data: Buffer.from("2") }] });
  expect(readFileSync(at("f", "a"), "utf8")).toBe("2");
  await lab.mounts.unmount({ target: "t" });
});

it("no more than so many mounts are kept", async () => {
  for (let index = 0; index < 256; index++) await mount({ type: "tmpfs", target: `n${index}` });
  await expect(mount({ type: "tmpfs", target: "more" })).rejects.toMatchObject({
    ...{ code: "RESOURCE_EXHAUSTED", reason: "TOO_MANY_MOUNTS" },
  });
});

it("a template takes no mounts", async () => {
  const template = await RunningAgent.start("zone.template=1");
  const mounts = createClient(MountService, template.session.client);
  const calls = [
    ...[mounts.mount({}), mounts.unmount({ target: "x" }), mounts.list({}), mounts.freeze({ target: "x" })],
    ...[mounts.thaw({ target: "x" }), mounts.trim({ target: "x" }), mounts.stats({ target: "x" })],
    ...[mounts.resize({ target: "x" }), mounts.updateFiles({ target: "x" })],
  ];
  const outcomes = await Promise.allSettled(calls);
  expect(new Set(outcomes.map((one) => one.status === "rejected" && one.reason.reason))).toEqual(
    new Set(["ZONE_NOT_RENEWED"]),
  );
  await template.stop();
});

it("is INVALID_MOUNT without a mount", async () => {
  await expect(lab.mounts.mount({})).rejects.toMatchObject({ reason: "INVALID_MOUNT" });
});
