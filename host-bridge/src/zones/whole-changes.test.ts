import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { ZoneError } from "@zone/proto";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { bridgeError } from "../errors.js";
import { StateStore } from "../state/store.js";
import { ScriptedBridge } from "../testing/scripted-bridge.js";
import { deferred } from "./deferred.js";

const { put } = StateStore.prototype;

let host: ScriptedBridge;
beforeAll(async () => {
  host = await ScriptedBridge.start();
});
beforeEach(() => {
  host.driver.scripts.clear();
  host.driver.take();
});
afterEach(() => vi.restoreAllMocks());
afterAll(() => host.close());

/** From now on no record can be written, until what is returned is called. */
function fillDisk(): () => void {
  const full = vi.spyOn(StateStore.prototype, "put").mockImplementation(async () => {
    throw bridgeError("RESOURCE_EXHAUSTED", "DISK_FULL", "full");
  });
  return () => full.mockImplementation(put);
}

async function restart(): Promise<void> {
  await host.end();
  await host.launch();
}

const hot = (zone: string, name: string) => ({ zone, volume: { name }, target: "/hot" });
const mounted = (name: string) => ({ mounts: [{ volume: { name }, target: "/v" }] });
const holderOf = async (name: string) =>
  (await host.volumes.list({})).volumes?.find((volume) => volume.name === name)?.zoneId;

describe("a record that cannot be written", () => {
  it("keeps a volume from being attached, and leaves it to others", async () => {
    const [first, second] = [await host.run(), await host.run()];
    host.driver.take();
    const makeRoom = fillDisk();
    await expect(host.zones.attachVolume(hot(first, "a"))).rejects.toMatchObject({ reason: "DISK_FULL" });
    expect(host.driver.take()).toEqual([]);
    makeRoom();
    await host.zones.attachVolume(hot(second, "a"));
    // The next write is of the whole record.
    await host.zones.update({ zone: first, pidsLimit: 50 });
    await restart();
    expect(await holderOf("a")).toBe(second);
    await expect(host.zones.detachVolume({ zone: first, volume: "a" })).rejects.toMatchObject({
      reason: "VOLUME_UNKNOWN",
    });
  });

  it("keeps a volume from being detached", async () => {
    const id = await host.run();
    await host.zones.attachVolume(hot(id, "d"));
    host.driver.take();
    const makeRoom = fillDisk();
    await expect(host.zones.detachVolume({ zone: id, volume: "d" })).rejects.toMatchObject({ reason: "DISK_FULL" });
    expect(host.driver.take()).toEqual(["Mount.Unmount", "domain.detachDisk", "domain.attachDisk", "Mount.Mount"]);
    makeRoom();
    await restart();
    expect(await holderOf("d")).toBe(id);
    await host.zones.detachVolume({ zone: id, volume: "d" });
    await host.run(mounted("d"));
  });

  it("leaves a zone its name, and the other name free", async () => {
    const id = await host.run({ name: "old" });
    const makeRoom = fillDisk();
    await expect(host.zones.update({ zone: id, name: "new" })).rejects.toMatchObject({ reason: "DISK_FULL" });
    makeRoom();
    expect((await host.get("old")).spec?.name).toBe("old");
    await expect(host.run({ name: "old" })).rejects.toMatchObject({ reason: "NAME_IN_USE" });
    const other = await host.run({ name: "new" });
    await host.zones.update({ zone: id, pidsLimit: 50 });
    await restart();
    expect((await host.get("old")).id).toBe(id);
    expect((await host.get("new")).id).toBe(other);
  });
});

describe("a bridge that starts", () => {
  it("goes on with a zone whose volume is another one's by the records", async () => {
    const [first, second] = [await host.run(mounted("twice")), await host.run()];
    await host.end();
    const store = await StateStore.open(`${host.directory}/state/state`);
    const records = await store.zones();
    const volumes = records.find(({ id }) => id === first)?.volumes;
    const record = records.find(({ id }) => id === second);
    if (record && volumes) await store.put({ ...record, volumes });
    await store.close();
    await host.launch();
    for (const id of [first, second]) expect((await host.get(id)).linkUp).toBeDefined();
    expect([first, second]).toContain(await holderOf("twice"));
  });

  it("says that a zone is lost which it cannot take up, and takes up the others", async () => {
    const [lost, kept] = [await host.run(), await host.run()];
    const adopt = host.driver.adopt.bind(host.driver);
    vi.spyOn(host.driver, "adopt").mockImplementation(async (record) => {
      if (record.directory.endsWith(lost)) throw new Error("no such driver");
      return adopt(record);
    });
    await restart();
    expect(await host.get(lost)).toMatchObject({ endMessage: "it could not be taken up again: no such driver" });
    await host.zones.update({ zone: kept, pidsLimit: 50 });
    await host.zones.delete({ zone: lost });
  });
});

describe("a zone whose log cannot be opened any more", () => {
  it("is ended, and what it had is free", async () => {
    const id = await host.run(mounted("logless"));
    await host.end();
    const log = join(host.directory, "state/zones", id, "main.log");
    await rm(log);
    await mkdir(log);
    await host.launch();
    expect(await host.get(id)).toMatchObject({ endMessage: expect.stringContaining("could not be taken up again") });
    expect(await holderOf("logless")).toBe("");
    await host.zones.delete({ zone: id });
  });
});

describe("a bridge that ends", () => {
  it("waits for a volume that is being attached", async () => {
    const id = await host.run();
    const [begun, goOn] = [deferred(), deferred()];
    host.driver.scripts.set("domain.attachDisk", () => {
      begun.resolve();
      return goOn.promise;
    });
    const asked = host.zones.attachVolume(hot(id, "slow")).catch(ZoneError.from);
    await begun.promise;
    const ended = host.end();
    setTimeout(goOn.resolve, 1500);
    await Promise.all([asked, ended]);
    expect(host.driver.take().slice(-2)).toEqual(["domain.attachDisk", "Mount.Mount"]);
    await host.launch();
    expect(await holderOf("slow")).toBe(id);
  });

  it("and waits no more leaves the volume to its zone, which can lose it", async () => {
    const id = await host.run();
    const [begun, goOn] = [deferred(), deferred()];
    host.driver.scripts.set("domain.attachDisk", () => {
      begun.resolve();
      return goOn.promise;
    });
    const asked = host.zones.attachVolume(hot(id, "stuck")).catch(ZoneError.from);
    await begun.promise;
    await Promise.all([asked, host.end()]);
    await host.launch();
    expect(await holderOf("stuck")).toBe(id);
    const unknown = (reason: string) => () => {
      throw bridgeError("NOT_FOUND", reason, reason);
    };
    host.driver.scripts.set("Mount.Unmount", unknown("MOUNT_UNKNOWN"));
    host.driver.scripts.set("domain.detachDisk", unknown("VOLUME_UNKNOWN"));
    await host.zones.detachVolume({ zone: id, volume: "stuck" });
    expect(await holderOf("stuck")).toBe("");
    goOn.resolve();
  });
});

describe("changes at the same time", () => {
  it("are made one after the other: an update keeps a new name", async () => {
    const id = await host.run({ name: "early", memoryBytes: 256 * 1024 * 1024, cpuMillis: 1000, maxCpus: 2 });
    const [begun, goOn] = [deferred(), deferred()];
    host.driver.scripts.set("domain.setVcpus", () => {
      begun.resolve();
      return goOn.promise;
    });
    const updated = host.zones.update({ zone: id, cpuMillis: 2000 });
    await begun.promise;
    const renamed = host.zones.update({ zone: id, name: "later" });
    setTimeout(goOn.resolve, 100);
    await Promise.all([updated, renamed]);
    expect((await host.get("later")).spec).toMatchObject({ name: "later", cpuMillis: 2000 });
    await host.run({ name: "early" });
  });
});
