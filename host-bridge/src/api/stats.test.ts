import { fromTimestamp, ZoneError, type zone } from "@zone/proto";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { ScriptedBridge } from "../testing/scripted-bridge.js";

type Stats = zone.bridge.v1.ZoneStats;

let host: ScriptedBridge;
beforeAll(async () => {
  host = await ScriptedBridge.start();
});
beforeEach(async () => {
  host.driver.scripts.clear();
  const { zones } = await host.zones.list({});
  await Promise.all(zones.map(({ id }) => host.zones.delete({ zone: id ?? "", force: true })));
});
afterAll(() => host.close());

async function statsOf(request: zone.bridge.v1.ZoneStatsRequest.$Properties): Promise<Stats[]> {
  const all: Stats[] = [];
  try {
    for await (const message of host.zones.stats(request) as AsyncIterable<Stats>) all.push(message);
  } catch (thrown) {
    throw ZoneError.from(thrown);
  }
  return all;
}

describe("statistics", () => {
  it("bring together what domain, container and kernel say", async () => {
    const scripts = host.driver.scripts;
    scripts.set("System.Info", () => ({ memoryTotalBytes: 1000, memoryAvailableBytes: 600 }));
    const memory = { currentBytes: 500, inactiveFileBytes: 100, limitBytes: 900, oomKills: 2 };
    const io = [
      { readBytes: 1, writeBytes: 2 },
      { readBytes: 10, writeBytes: 20 },
    ];
    scripts.set("Container.Stats", () => ({ cgroup: { cpu: { usageUs: 7 }, memory, io, pids: { current: 3 } } }));
    const links = [
      { name: "lo", loopback: true, receivedBytes: 999 },
      { name: "eth0", receivedBytes: 5, sentBytes: 6 },
    ];
    scripts.set("Network.ListLinks", () => ({ links }));
    const id = await host.run({ name: "counted" });
    const [stats, ...others] = await statsOf({});
    expect(others).toEqual([]);
    expect(stats).toMatchObject({
      zoneId: id,
      name: "counted",
      cpuUs: 7,
      memoryBytes: 400,
      memoryLimitBytes: 900,
      pids: 3,
      oomKills: 2,
      networkReceivedBytes: 5,
      networkSentBytes: 6,
      diskReadBytes: 11,
      diskWrittenBytes: 22,
      vmmCpuUs: 1,
      vmmPssBytes: 2,
      vmmPrivateBytes: 3,
      vcpus: 1,
      zoneMemoryTotalBytes: 1000,
      zoneMemoryAvailableBytes: 600,
      last: true,
      message: "",
    });
    expect(Math.abs(Date.now() - (fromTimestamp(stats?.time) ?? 0))).toBeLessThan(60_000);
  });

  it("are not held up by a zone that hangs: the others come first, it comes with what the host knows", async () => {
    const hanging = await host.run({ name: "hanging" });
    const others = [await host.run({ name: "a" }), await host.run({ name: "b" })];
    let asked = 0;
    host.driver.scripts.set("Container.Stats", () => (asked++ === 0 ? new Promise(() => {}) : {}));
    const stats = await statsOf({ zones: [hanging, ...others] });
    expect(stats.map(({ last }) => last)).toEqual([false, false, true]);
    expect(stats.at(-1)).toMatchObject({ vmmPssBytes: 2, message: expect.stringMatching(/deadline/i) });
    expect(stats.slice(0, 2).map(({ message }) => message)).toEqual(["", ""]);
  });

  it("believe no zone that says what cannot be", async () => {
    await host.run();
    host.driver.scripts.set("System.Info", () => ({ memoryTotalBytes: 2 ** 63 }));
    const links = Array.from({ length: 1000 }, () => ({ receivedBytes: 2 ** 52 }));
    host.driver.scripts.set("Network.ListLinks", () => ({ links }));
    expect(await statsOf({})).toMatchObject([{ zoneMemoryTotalBytes: 0, networkReceivedBytes: 0 }]);
  });

  it("of a paused zone are the host's", async () => {
    const id = await host.run();
    await host.zones.pause({ zone: id });
    host.driver.take();
    expect(await statsOf({ zones: [id] })).toMatchObject([{ paused: true, vmmPssBytes: 2 }]);
    expect(host.driver.take()).toEqual(["domain.stats"]);
  });

  it("follow until all the named ones have ended", async () => {
    const id = await host.run();
    const following = statsOf({ zones: [id], follow: true, intervalMs: 100 });
    await expect.poll(() => host.driver.take().includes("domain.stats"), { timeout: 30_000 }).toBe(true);
    host.driver.exit(id, { code: 0 });
    const all = await following;
    expect(all.length).toBeGreaterThan(0);
    expect(all.every(({ zoneId, last }) => zoneId === id && last)).toBe(true);
  });

  it("of nobody are one message that says so", async () => {
    expect(await statsOf({})).toMatchObject([{ zoneId: "", last: true }]);
  });

  it.each([
    [{ intervalMs: 99 }, "INVALID_LIMIT"],
    [{ intervalMs: 600_001 }, "INVALID_LIMIT"],
    [{ zones: ["nope"] }, "ZONE_UNKNOWN"],
  ])("refuse %o", async (request, reason) => {
    await expect(statsOf(request)).rejects.toMatchObject({ reason });
  });

  it("refuse a zone that has not been started", async () => {
    const id = await host.create();
    await expect(statsOf({ zones: [id] })).rejects.toMatchObject({ reason: "ZONE_NOT_RUNNING" });
  });
});
