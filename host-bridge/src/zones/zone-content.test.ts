import { mkdir, mkdtemp, readdir, readFile, realpath, rm, stat, symlink, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { ScriptedBridge } from "../testing/scripted-bridge.js";
import { Volumes } from "../volumes/volumes.js";
import { deferred } from "./deferred.js";
import { checkHostMounts, openHostSource } from "./host-mount.js";

let host: ScriptedBridge;
let folder: string;
beforeAll(async () => {
  host = await ScriptedBridge.start();
  folder = await realpath(await mkdtemp(join(tmpdir(), "zh-")));
});
beforeEach(() => {
  host.driver.scripts.clear();
  host.driver.take();
});
afterAll(async () => {
  await host.close();
  await rm(folder, { recursive: true });
});

const text = (value: string) => Buffer.from(value);
const SECRET = "correct horse battery staple";
const secrets = (target = "/run/secrets") => ({
  mounts: [{ files: { files: [{ path: "token", data: text(SECRET), mode: 0o400 }] }, target }],
});

describe("files", () => {
  it("are pushed into the zone, and never kept or shown", async () => {
    const id = await host.run({ name: "secretive", ...secrets() });
    expect(host.driver.requestOf("Container.Create")).toMatchObject({
      mounts: [{ type: "files", target: "/run/secrets", files: [{ path: "token", data: text(SECRET), mode: 0o400 }] }],
    });
    expect((await host.get(id)).spec?.mounts).toMatchObject([{ target: "/run/secrets", files: { files: [] } }]);
    await host.end();
    for (const file of await readdir(join(host.directory, "state"), { recursive: true, withFileTypes: true })) {
      if (!file.isFile()) continue;
      const content = await readFile(join(file.path, file.name), "latin1");
      expect(content).not.toContain(SECRET);
      expect(content).not.toContain(text(SECRET).toString("base64").slice(4, 20));
    }
    await host.launch();
  });

  it("are lost with the bridge before the start, and can be given again", async () => {
    const id = await host.create(secrets());
    await host.end();
    await host.launch();
    await expect(host.start(id)).rejects.toMatchObject({ reason: "FILES_LOST" });
    await host.zones.updateFiles({ zone: id, target: "/run/secrets", files: [{ path: "token", data: text("again") }] });
    await host.start(id);
    expect(host.driver.requestOf("Container.Create")).toMatchObject({ mounts: [{ files: [{ data: text("again") }] }] });
  });

  it("are replaced in a running zone", async () => {
    const id = await host.run(secrets());
    await host.zones.updateFiles({ zone: id, target: "/run/secrets/", files: [{ path: "b", data: text("new") }] });
    expect(host.driver.requestOf("Mount.UpdateFiles")).toMatchObject({
      containerId: "main",
      target: "/run/secrets",
      files: [{ path: "b", data: text("new"), mode: 0o444 }],
    });
    for (const [target, path] of [
      ["/elsewhere", "a"],
      ["/run/secrets", "../a"],
    ]) {
      const asked = host.zones.updateFiles({ zone: id, target, files: [{ path }] });
      await expect(asked).rejects.toMatchObject({ reason: "INVALID_FILES" });
    }
  });

  it("are not taken while the zone is being started, which would lose them", async () => {
    const id = await host.create(secrets());
    const [begun, goOn] = [deferred(), deferred()];
    const take = vi.spyOn(Volumes.prototype, "ensure").mockImplementation(async () => {
      begun.resolve();
      await goOn.promise;
      throw new Error("no volume");
    });
    const volume = { mounts: [...secrets().mounts, { volume: { name: "slow" }, target: "/v" }] };
    const slow = await host.create(volume);
    const started = host.start(slow).catch((error) => error);
    await begun.promise;
    const files = [{ path: "token", data: text("late") }];
    const asked = host.zones.updateFiles({ zone: slow, target: "/run/secrets", files });
    await expect(asked).rejects.toMatchObject({ reason: "ZONE_NOT_CREATED" });
    await host.zones.updateFiles({ zone: id, target: "/run/secrets", files });
    goOn.resolve();
    await started;
    take.mockRestore();
    await host.zones.updateFiles({ zone: slow, target: "/run/secrets", files });
    await host.start(slow);
    expect(host.driver.requestOf("Container.Create")).toMatchObject({
      mounts: [{ files: [{ data: text("late") }] }, {}],
    });
  });

  it("are refused when those of all mounts are too many bytes", async () => {
    const MIB = 1024 * 1024;
    const targets = ["/a", "/b", "/c"];
    const id = await host.create({ mounts: targets.map((target) => ({ files: { files: [] }, target })) });
    const give = (target: string, bytes: number) =>
      host.zones.updateFiles({ zone: id, target, files: [{ path: "f", data: Buffer.alloc(bytes) }] });
    await give("/a", MIB);
    await give("/b", MIB);
    await expect(give("/c", MIB)).rejects.toMatchObject({ reason: "INVALID_FILES" });
    await give("/c", MIB / 2);
    await host.start(id);
  });
});

describe("what is mounted from the host", () => {
  it("is a folder, by a tag, with its links resolved", async () => {
    await mkdir(join(folder, "real"));
    await symlink("real", join(folder, "link"));
    const path = join(folder, "link");
    await host.run({ mounts: [{ host: { path, mustExist: true }, target: "/src", readOnly: true }] });
    expect(host.driver.configs.at(-1)?.shares).toEqual([{ path: join(folder, "real"), tag: "h0", readOnly: true }]);
    expect(host.driver.requestOf("Container.Create")).toMatchObject({
      mounts: [{ type: "9p", source: "h0", target: "/src", options: ["ro"] }],
    });
  });

  it("is made as a folder when it is not there and need not be", async () => {
    const path = join(folder, "made/here");
    await host.run({ mounts: [{ host: { path }, target: "/src" }] });
    expect(await readdir(path)).toEqual([]);
    const asked = host.create({ mounts: [{ host: { path: join(folder, "no"), mustExist: true }, target: "/src" }] });
    await expect(asked).rejects.toMatchObject({ reason: "SOURCE_NOT_FOUND" });
  });

  it("is a file's content, as it is at the start", async () => {
    const path = join(folder, "config");
    await writeFile(path, "before", { mode: 0o640 });
    const id = await host.create({ mounts: [{ host: { path }, target: "/etc/config" }] });
    await writeFile(path, "after");
    await host.start(id);
    expect(host.driver.requestOf("Container.Create")).toMatchObject({
      mounts: [
        {
          type: "files",
          target: "/etc/config",
          options: ["ro"],
          files: [{ path: "", data: text("after"), mode: 0o640 }],
        },
      ],
    });
    expect(host.driver.configs.at(-1)?.shares).toEqual([]);
  });

  it("is a folder that is made with all above it, for everybody to enter, whatever the umask", async () => {
    const before = process.umask(0o077);
    try {
      const made = join(folder, "made/by/us");
      expect(await openHostSource(`${folder}/made/by/us/`, false)).toEqual({ kind: "folder", path: made });
      for (const each of ["made", "made/by", "made/by/us"]) {
        expect((await stat(join(folder, each))).mode & 0o777).toBe(0o755);
      }
      await mkdir(join(folder, "private"));
      await openHostSource(join(folder, "private/new"), false);
      expect((await stat(join(folder, "private"))).mode & 0o777).toBe(0o700);
    } finally {
      process.umask(before);
    }
  });

  it("is no large file, and no socket", async () => {
    await writeFile(join(folder, "large"), Buffer.alloc(1024 * 1024 + 1));
    await expect(openHostSource(join(folder, "large"), true)).rejects.toMatchObject({ reason: "INVALID_MOUNT" });
    await writeFile(join(folder, "largest"), Buffer.alloc(1024 * 1024, 1));
    const largest = await openHostSource(join(folder, "largest"), true);
    expect(largest.kind === "file" && largest.file.data?.length).toBe(1024 * 1024);
    const server = createServer().listen(join(folder, "socket"));
    await new Promise((resolve) => server.once("listening", resolve));
    const mounts = [{ host: { path: join(folder, "socket") }, target: "/s" }];
    await expect(host.create({ mounts })).rejects.toMatchObject({ reason: "INVALID_MOUNT" });
    server.close();
  });

  it("is for those who may do everything only", async () => {
    const mounts = [{ host: { path: "/" }, target: "/host" }];
    await expect(checkHostMounts(mounts, { admin: false })).rejects.toMatchObject({ reason: "SOURCE_DENIED" });
    await checkHostMounts(mounts, { admin: true });
  });

  it("leaves the zone as it was when it has gone before the start", async () => {
    const path = join(folder, "gone");
    await mkdir(path);
    const id = await host.create({ mounts: [{ host: { path, mustExist: true }, target: "/src" }] });
    await rm(path, { recursive: true });
    await expect(host.start(id)).rejects.toMatchObject({ reason: "SOURCE_NOT_FOUND" });
    await mkdir(path);
    await host.start(id);
  });
});
