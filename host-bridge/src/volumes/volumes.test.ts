import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { bridge } from "@zone/proto";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { bridgeError } from "../errors.js";
import { ScriptedBridge } from "../testing/scripted-bridge.js";
import { volumeSerial } from "../zones/mount-plan.js";

const { EndCause } = bridge;
const MIB = 1024 * 1024;

let host: ScriptedBridge;
beforeAll(async () => {
  host = await ScriptedBridge.start();
});
beforeEach(() => {
  host.driver.scripts.clear();
  host.driver.take();
});
afterAll(() => host.close());

const fileOf = (name: string) => join(host.directory, "state/volumes", `${name}.img`);
const failing = (reason: string) => () => {
  throw bridgeError("FAILED_PRECONDITION", reason, reason);
};
const mounted = (name: string, target = "/data") => ({ mounts: [{ volume: { name }, target }] });

describe("a volume", () => {
  it("is a sparse file with an ext4 file system in it", async () => {
    const { volume } = await host.volumes.create({ name: "made", sizeBytes: 64 * MIB, labels: { a: "b" } });
    expect(volume).toMatchObject({ name: "made", sizeBytes: 64 * MIB, zoneId: "", labels: { a: "b" } });
    expect(volume?.allocatedBytes).toBeLessThan(8 * MIB);
    expect((await stat(fileOf("made"))).size).toBe(64 * MIB);
    const said = execFileSync("/usr/sbin/dumpe2fs", ["-h", fileOf("made")], { stdio: ["ignore", "pipe", "ignore"] });
    expect(said.toString()).toMatch(/Block count:\s+16384\n/);
    expect(existsSync(`${fileOf("made")}.new`)).toBe(false);
  });

  it("has a name of its own when none is given, 8 GiB when no size is", async () => {
    const { volume } = await host.volumes.create({});
    expect(volume).toMatchObject({ name: expect.stringMatching(/^[a-z]+-[a-z]+/), sizeBytes: 8192 * MIB });
    expect((await host.volumes.list({})).volumes.map(({ name }) => name)).toContain(volume?.name);
  });

  it.each([
    ["a name with a slash", { name: "a/b" }, "INVALID_NAME"],
    ["hardly any size", { sizeBytes: MIB }, "INVALID_LIMIT"],
    ["too much size", { sizeBytes: 2 ** 60 }, "INVALID_LIMIT"],
    ["a long label", { labels: { a: "x".repeat(300) } }, "INVALID_LIMIT"],
    ["a name in use", { name: "made" }, "NAME_IN_USE"],
  ])("is refused with %s", async (_, request, reason) => {
    await expect(host.volumes.create(request)).rejects.toMatchObject({ reason });
  });

  it("never takes the place of a file that is no volume of the bridge's", async () => {
    await writeFile(fileOf("foreign"), "precious");
    await expect(host.volumes.create({ name: "foreign" })).rejects.toMatchObject({ reason: "NAME_IN_USE" });
    expect((await stat(fileOf("foreign"))).size).toBe(8);
  });

  it("cannot be removed or resized when it is not there", async () => {
    await expect(host.volumes.remove({ name: "nope" })).rejects.toMatchObject({ reason: "VOLUME_UNKNOWN" });
    await expect(host.volumes.resize({ name: "nope" })).rejects.toMatchObject({ reason: "VOLUME_UNKNOWN" });
  });

  it("is made once, however many want it at a time", async () => {
    const asked = [1, 2, 3].map(() => host.volumes.create({ name: "once", sizeBytes: 16 * MIB }));
    const settled = await Promise.allSettled(asked);
    expect(settled.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected", "rejected"]);
  });
});

describe("a zone's volume", () => {
  it("is made at its start, a disk of the domain, and mounted in the container", async () => {
    const id = await host.run({ mounts: [{ volume: { name: "new" }, target: "/data/" }] });
    const serial = volumeSerial("new");
    expect(host.driver.configs.at(-1)?.disks).toEqual([
      { path: "/dev/null", serial: "w0", readOnly: true },
      { path: fileOf("new"), serial, readOnly: false },
    ]);
    expect(host.driver.requestOf("Container.Create")).toMatchObject({
      mounts: [{ type: "ext4", source: `serial:${serial}`, target: "/data", subdirectory: "data", copyUp: true }],
    });
    const { volumes } = await host.volumes.list({});
    expect(volumes.find(({ name }) => name === "new")?.zoneId).toBe(id);
  });

  it("is one zone's at a time, which is named; the other zone is as it was", async () => {
    const first = await host.run({ name: "holder", ...mounted("mine") });
    const second = await host.create(mounted("mine"));
    const error = await host.start(second).catch((thrown) => thrown);
    expect(error).toMatchObject({ reason: "VOLUME_IN_USE", message: expect.stringContaining("zone holder") });
    await expect(host.volumes.remove({ name: "mine" })).rejects.toMatchObject({ reason: "VOLUME_IN_USE" });
    host.driver.exit(first, { code: 0 });
    await host.zones.wait({ zone: first });
    await host.start(second);
    await host.zones.delete({ zone: second, force: true });
    await host.zones.delete({ zone: first });
    await host.volumes.remove({ name: "mine" });
    expect(existsSync(fileOf("mine"))).toBe(false);
  });

  it("stays that zone's when the bridge ends, and stays when the zone is removed", async () => {
    const id = await host.run({ name: "survivor", ...mounted("kept") });
    await host.end();
    await host.launch();
    await expect(host.run(mounted("kept"))).rejects.toMatchObject({ reason: "VOLUME_IN_USE" });
    await host.zones.delete({ zone: id, force: true });
    const { volumes } = await host.volumes.list({});
    expect(volumes.find(({ name }) => name === "kept")).toMatchObject({ zoneId: "" });
  });

  it("can be given at two places to no zone", async () => {
    const mounts = [...mounted("v", "/a").mounts, ...mounted("v", "/b").mounts];
    await expect(host.create({ mounts })).rejects.toMatchObject({ reason: "INVALID_MOUNT" });
  });
});

describe("a running zone", () => {
  it("gets a volume and loses it again", async () => {
    const id = await host.run();
    host.driver.take();
    await host.zones.attachVolume({ zone: id, volume: { name: "hot" }, target: "/hot" });
    expect(host.driver.take()).toEqual(["domain.attachDisk", "Mount.Mount"]);
    const busy = host.zones.attachVolume({ zone: id, volume: { name: "other" }, target: "/hot" });
    await expect(busy).rejects.toMatchObject({ reason: "INVALID_MOUNT" });
    const twice = host.zones.attachVolume({ zone: id, volume: { name: "hot" }, target: "/hot2" });
    await expect(twice).rejects.toMatchObject({ reason: "VOLUME_IN_USE" });
    await host.end();
    await host.launch();
    await expect(host.run(mounted("hot"))).rejects.toMatchObject({ reason: "VOLUME_IN_USE" });
    host.driver.take();
    await host.zones.detachVolume({ zone: id, volume: "hot" });
    expect(host.driver.take()).toEqual(["Mount.Unmount", "domain.detachDisk"]);
    await expect(host.zones.detachVolume({ zone: id, volume: "hot" })).rejects.toMatchObject({
      reason: "VOLUME_UNKNOWN",
    });
    await host.run(mounted("hot"));
  });

  it("is as before when a volume cannot be mounted, or cannot be taken away", async () => {
    const id = await host.run();
    host.driver.take();
    host.driver.scripts.set("Mount.Mount", failing("FS_UNSUPPORTED"));
    const attach = { zone: id, volume: { name: "undone" }, target: "/u" };
    await expect(host.zones.attachVolume(attach)).rejects.toMatchObject({ reason: "FS_UNSUPPORTED" });
    expect(host.driver.take()).toEqual(["domain.attachDisk", "Mount.Mount", "domain.detachDisk"]);
    host.driver.scripts.clear();
    await host.zones.attachVolume(attach);
    host.driver.scripts.set("Mount.Unmount", failing("MOUNT_BUSY"));
    const detach = { zone: id, volume: "undone" };
    await expect(host.zones.detachVolume(detach)).rejects.toMatchObject({ reason: "VOLUME_BUSY" });
    host.driver.scripts.clear();
    host.driver.scripts.set("domain.detachDisk", failing("VOLUME_BUSY"));
    host.driver.take();
    await expect(host.zones.detachVolume(detach)).rejects.toMatchObject({ reason: "VOLUME_BUSY" });
    expect(host.driver.take()).toEqual(["Mount.Unmount", "domain.detachDisk", "Mount.Mount"]);
    host.driver.scripts.clear();
    await host.zones.detachVolume(detach);
  });

  it("sees its volume grow, with the file system in it", async () => {
    await host.volumes.create({ name: "grows", sizeBytes: 32 * MIB });
    await host.run(mounted("grows"));
    host.driver.take();
    const { volume } = await host.volumes.resize({ name: "grows", sizeBytes: 64 * MIB });
    expect(volume?.sizeBytes).toBe(64 * MIB);
    expect(host.driver.take()).toEqual(["domain.resizeDisk", "Mount.Resize"]);
    expect(host.driver.requestOf("domain.resizeDisk")).toEqual({ serial: volumeSerial("grows"), bytes: 64 * MIB });
    const smaller = host.volumes.resize({ name: "grows", sizeBytes: 32 * MIB });
    await expect(smaller).rejects.toMatchObject({ reason: "INVALID_LIMIT" });
  });

  it("grows the file system of a volume that has grown before", async () => {
    await host.volumes.create({ name: "grown", sizeBytes: 32 * MIB });
    await host.volumes.resize({ name: "grown", sizeBytes: 48 * MIB });
    const id = await host.run(mounted("grown"));
    expect(host.driver.take()).toContain("Mount.Resize");
    host.driver.exit(id, { code: 0 });
    expect((await host.zones.wait({ zone: id })).zone?.endCause).toBe(EndCause.END_CAUSE_EXITED);
    await host.run(mounted("grown"));
    expect(host.driver.take()).not.toContain("Mount.Resize");
  });

  it("must run", async () => {
    const id = await host.create();
    const attach = host.zones.attachVolume({ zone: id, volume: { name: "v1" }, target: "/v" });
    await expect(attach).rejects.toMatchObject({ reason: "ZONE_NOT_RUNNING" });
    await expect(host.zones.detachVolume({ zone: id, volume: "v1" })).rejects.toMatchObject({
      reason: "ZONE_NOT_RUNNING",
    });
  });
});

describe("volumes without mkfs.ext4", () => {
  it("say what to install", async () => {
    const { makeVolume } = await import("./make-volume.js");
    const nowhere = { PATH: "/nonexistent" };
    const made = makeVolume(join(host.directory, "x.img"), 16 * MIB, nowhere, []);
    await expect(made).rejects.toMatchObject({ reason: "MKFS_MISSING", message: expect.stringContaining("e2fsprogs") });
    expect(existsSync(join(host.directory, "x.img.new"))).toBe(false);
  });
});
