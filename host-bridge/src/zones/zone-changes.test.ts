import { bridge, ZoneError } from "@zone/proto";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { bridgeError } from "../errors.js";
import { ScriptedBridge } from "../testing/scripted-bridge.js";
import { inZone } from "../testing/test-bridge.js";

const { ZoneState, EndCause } = bridge;
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

const failing = (reason: string) => () => {
  throw bridgeError("FAILED_PRECONDITION", reason, reason);
};

describe("a start", () => {
  it("asks for one thing after the other", async () => {
    await host.run();
    expect(host.driver.take()).toEqual([
      "domain.resume",
      "System.Renew",
      "Network.Configure",
      "Container.Create",
      "Process.Start",
    ]);
    expect(host.driver.configs.at(-1)).toMatchObject({ network: { kind: "user" }, maxMemoryBytes: 1024 * MIB });
    expect(host.driver.requestOf("Network.Configure")).toMatchObject({
      links: [{ hardwareAddress: "02:00:00:00:00:01", addresses: ["10.0.2.15/24", "fd00:7a6f:6e65::f/64"], mtu: 1500 }],
      routes: [
        { destination: "0.0.0.0/0", gateway: "10.0.2.2" },
        { destination: "::/0", gateway: "fd00:7a6f:6e65::2" },
      ],
      dns: { nameservers: ["10.0.2.3"], searches: ["lan"] },
    });
  });

  it("configures no network where there is none", async () => {
    await host.run({ network: { mode: bridge.Network.Mode.MODE_NONE } });
    expect(host.driver.take()).not.toContain("Network.Configure");
    expect(host.driver.configs.at(-1)?.network).toEqual({ kind: "none" });
  });

  it("gives the host back what it took when it fails", async () => {
    host.driver.scripts.set("Container.Create", failing("MOUNT_FAILED"));
    const mounts = [{ volume: { name: "taken" }, target: "/v" }];
    await expect(host.run({ mounts })).rejects.toMatchObject({ reason: "MOUNT_FAILED" });
    const { volumes } = await host.volumes.list({});
    expect(volumes).toEqual([expect.objectContaining({ name: "taken", zoneId: "" })]);
    await host.volumes.remove({ name: "taken" });
  });
});

describe("pause and resume", () => {
  it("stop the cpus and let them go on, with the clock set", async () => {
    const id = await host.run();
    host.driver.take();
    const { zone } = await host.zones.pause({ zone: id });
    expect(zone?.state).toBe(ZoneState.ZONE_STATE_PAUSED);
    await expect(host.process.list({}, inZone(id))).rejects.toMatchObject({ reason: "ZONE_PAUSED" });
    await expect(host.zones.pause({ zone: id })).rejects.toMatchObject({ reason: "ZONE_PAUSED" });
    await expect(host.zones.update({ zone: id, cpuMillis: 500 })).rejects.toMatchObject({ reason: "ZONE_PAUSED" });
    expect(host.driver.take()).toEqual(["domain.pause"]);
    const resumed = await host.zones.resume({ zone: id });
    expect(resumed.zone?.state).toBe(ZoneState.ZONE_STATE_RUNNING);
    // The scripted agent says that it is 1970.
    expect(host.driver.take()).toEqual(["domain.resume", "System.SetTime", "System.SetTime", "System.SetTime"]);
    await host.process.list({}, inZone(id));
    await expect(host.zones.resume({ zone: id })).rejects.toMatchObject({ reason: "ZONE_NOT_PAUSED" });
  });

  it("leave a zone running that cannot be paused", async () => {
    const id = await host.run();
    host.driver.scripts.set("domain.pause", failing("HOTPLUG_FAILED"));
    await expect(host.zones.pause({ zone: id })).rejects.toMatchObject({ reason: "HOTPLUG_FAILED" });
    expect((await host.get(id)).state).toBe(ZoneState.ZONE_STATE_RUNNING);
    await host.process.list({}, inZone(id));
  });

  it("are told as events", async () => {
    const id = await host.run();
    const events = host.zones.watch({});
    const types: string[] = [];
    const seen = new Promise<void>((resolve) => {
      events.on("data", ({ type, zone }) => {
        if (zone?.id === id) types.push(type);
        if (type === "resumed") resolve();
        if (type === "") host.zones.pause({ zone: id }).then(() => host.zones.resume({ zone: id }));
      });
    });
    await seen;
    events.on("error", () => {});
    events.cancel();
    expect(types).toEqual(["paused", "resumed"]);
  });

  it("need a zone that runs", async () => {
    const id = await host.create();
    for (const asked of [host.zones.pause({ zone: id }), host.zones.resume({ zone: id })]) {
      await expect(asked).rejects.toMatchObject({ reason: "ZONE_NOT_RUNNING" });
    }
  });

  it("do not keep a paused zone from being stopped: it is resumed first", async () => {
    const id = await host.run();
    await host.zones.pause({ zone: id });
    host.driver.take();
    host.driver.scripts.set("Process.Signal", () => host.driver.exit(id, { signal: 15 }));
    const { zone } = await host.zones.stop({ zone: id });
    expect(zone).toMatchObject({ endCause: EndCause.END_CAUSE_STOPPED, exitCode: 143 });
    const asked = host.driver.take();
    expect(asked.indexOf("domain.resume")).toBeLessThan(asked.indexOf("Process.Signal"));
    expect(asked).toContain("Process.Signal");
  });

  it("do not keep it from being removed with force", async () => {
    const id = await host.run();
    await host.zones.pause({ zone: id });
    await host.zones.delete({ zone: id, force: true });
    await expect(host.zones.get({ zone: id })).rejects.toMatchObject({ reason: "ZONE_UNKNOWN" });
  });

  it("survive the bridge: a paused zone is found paused", async () => {
    const [paused, running] = [await host.run(), await host.run()];
    await host.zones.pause({ zone: paused });
    await host.end();
    host.driver.take();
    await host.launch();
    expect(host.driver.take().sort()).toEqual(expect.arrayContaining(["domain.pause", "domain.resume"]));
    expect((await host.get(paused)).state).toBe(ZoneState.ZONE_STATE_PAUSED);
    await expect(host.process.list({}, inZone(paused))).rejects.toMatchObject({ reason: "ZONE_PAUSED" });
    expect((await host.get(running)).state).toBe(ZoneState.ZONE_STATE_RUNNING);
    await host.zones.resume({ zone: paused });
    await host.process.list({}, inZone(paused));
  });
});

describe("an update", () => {
  const size = { memoryBytes: 256 * MIB, cpuMillis: 1000, maxCpus: 2, maxMemoryBytes: 1024 * MIB };

  it("gives the domain more, brings it into use, and sets the container's limits", async () => {
    const id = await host.run(size);
    host.driver.take();
    host.driver.scripts.set("System.Info", () => ({ memoryTotalBytes: 240 * MIB }));
    const { zone } = await host.zones.update({ zone: id, memoryBytes: 512 * MIB, cpuMillis: 1500, pidsLimit: 99 });
    expect(zone).toMatchObject({ vcpus: 2, spec: { memoryBytes: 512 * MIB, cpuMillis: 1500, pidsLimit: 99 } });
    expect(host.driver.take()).toEqual(["domain.setMemory", "domain.setVcpus", "System.Online", "Container.Update"]);
    const wanted = Math.floor(240 * MIB + 0.9 * 256 * MIB);
    expect(host.driver.requestOf("System.Online")).toMatchObject({ cpus: 2, memoryBytes: wanted });
    expect(host.driver.requestOf("Container.Update")).toMatchObject({
      id: "main",
      limits: { cpuMillis: 1500, pids: 99, memoryBytes: 0 },
    });
  });

  it("keeps the vCPUs and limits the container when there are to be fewer", async () => {
    const id = await host.run({ ...size, cpuMillis: 2000 });
    const { zone } = await host.zones.update({ zone: id, cpuMillis: 1000 });
    expect(zone).toMatchObject({ vcpus: 2, spec: { cpuMillis: 1000 } });
    expect(host.driver.take()).not.toContain("domain.setVcpus");
    expect(host.driver.requestOf("Container.Update")).toMatchObject({ limits: { cpuMillis: 1000 } });
  });

  it.each([
    ["domain.setMemory", ["domain.setMemory", "domain.setMemory"]],
    ["System.Online", ["domain.setMemory", "System.Online", "domain.setMemory"]],
    [
      "Container.Update",
      ["domain.setMemory", "System.Online", "Container.Update", "Container.Update", "domain.setMemory"],
    ],
  ])("is undone in reverse when %s fails", async (method, calls) => {
    const id = await host.run(size);
    host.driver.take();
    host.driver.scripts.set(method, failing("HOTPLUG_FAILED"));
    const asked = host.zones.update({ zone: id, name: `renamed-${method.length}`, memoryBytes: 512 * MIB });
    await expect(asked).rejects.toMatchObject({ reason: "HOTPLUG_FAILED" });
    expect(host.driver.take()).toEqual(calls);
    expect(host.driver.requestOf("domain.setMemory")).toBe(256 * MIB);
    const zone = await host.get(id);
    expect(zone.spec).toMatchObject({ memoryBytes: 256 * MIB });
    expect(zone.spec?.name).not.toMatch(/^renamed/);
  });

  it("leaves the container limited when its new vCPUs cannot be brought into use, and brings them when asked again", async () => {
    const id = await host.run(size);
    host.driver.take();
    host.driver.scripts.set("System.Online", failing("HOTPLUG_FAILED"));
    const asked = () => host.zones.update({ zone: id, cpuMillis: 2000 });
    await expect(asked()).rejects.toMatchObject({ reason: "HOTPLUG_FAILED" });
    expect(host.driver.take()).toEqual(["domain.setVcpus", "System.Online", "Container.Update"]);
    expect(host.driver.requestOf("Container.Update")).toMatchObject({ limits: { cpuMillis: 1000 } });
    expect(await host.get(id)).toMatchObject({ vcpus: 2, spec: { cpuMillis: 1000 } });
    host.driver.scripts.clear();
    expect((await asked()).zone).toMatchObject({ vcpus: 2, spec: { cpuMillis: 2000 } });
    expect(host.driver.take()).toEqual(["System.Online", "Container.Update"]);
    expect(host.driver.requestOf("System.Online")).toMatchObject({ cpus: 2 });
    expect(host.driver.requestOf("Container.Update")).toMatchObject({ limits: { cpuMillis: 0 } });
  });

  it.each([
    [{ memoryBytes: 2048 * MIB }, "INVALID_MEMORY", "1024 MiB"],
    [{ memoryBytes: 64 * MIB }, "MEMORY_TOO_SMALL", "96"],
    [{ memoryBytes: 2 ** 60 }, "INVALID_MEMORY", "more"],
    [{ cpuMillis: 1_000_000 }, "INVALID_CPUS", "1000"],
    [{ memoryLimitBytes: 512 * MIB }, "INVALID_LIMIT", "256 MiB"],
    [{ pidsLimit: 10 ** 9 }, "INVALID_LIMIT", "1000000000"],
    [{ name: "-x" }, "INVALID_NAME", "-x"],
  ])("refuses %o", async (update, reason, named) => {
    const id = await host.run(size);
    host.driver.take();
    const error = await host.zones.update({ zone: id, ...update }).catch(ZoneError.from);
    expect(error).toMatchObject({ reason, message: expect.stringContaining(named) });
    expect(host.driver.take()).toEqual([]);
  });

  it("of a zone that has not been started changes what it is started with", async () => {
    const id = await host.create(size);
    await host.zones.update({ zone: id, memoryBytes: 2048 * MIB, cpuMillis: 2000 });
    await host.start(id);
    expect(host.driver.configs.at(-1)).toMatchObject({ memoryBytes: 2048 * MIB, vcpus: 2, maxMemoryBytes: 2048 * MIB });
  });

  it("of a zone that has ended is refused, but for its name", async () => {
    const id = await host.run();
    host.driver.exit(id, { code: 0 });
    await host.zones.wait({ zone: id });
    await expect(host.zones.update({ zone: id, cpuMillis: 500 })).rejects.toMatchObject({ reason: "ZONE_NOT_RUNNING" });
    expect((await host.zones.update({ zone: id, name: "late" })).zone?.spec?.name).toBe("late");
  });

  it("renames, unless the name is in use", async () => {
    const [first, second] = [await host.run({ name: "one" }), await host.run({ name: "two" })];
    await expect(host.zones.update({ zone: first, name: "two" })).rejects.toMatchObject({ reason: "NAME_IN_USE" });
    await host.zones.update({ zone: "one", name: "three" });
    expect((await host.get("three")).id).toBe(first);
    await expect(host.get("one")).rejects.toMatchObject({ reason: "ZONE_UNKNOWN" });
    await host.zones.update({ zone: second, name: "one" });
    await host.zones.delete({ zone: "three", force: true });
    await host.end();
    await host.launch();
    expect((await host.get("one")).id).toBe(second);
    await host.run({ name: "three" });
  });
});

describe("want of memory", () => {
  it("is told, kept, and the reason of the end", async () => {
    const id = await host.run({ memoryLimitBytes: 64 * MIB });
    host.driver.tell(id, { containerOom: { id: "other", count: 1 } });
    host.driver.tell(id, { containerOom: { id: "main", count: 1 } });
    await expect.poll(async () => (await host.get(id)).oomKilled, { timeout: 30_000 }).toBe(true);
    host.driver.exit(id, { signal: 9, oomKilled: true });
    const { zone } = await host.zones.wait({ zone: id });
    expect(zone).toMatchObject({
      exitCode: 137,
      oomKilled: true,
      endMessage: "killed: out of memory (limit 64 MiB)",
    });
  });

  it("of another process of the container is told as such", async () => {
    const id = await host.run();
    host.driver.exit(id, { code: 3, oomKilled: true });
    const { zone } = await host.zones.wait({ zone: id });
    expect(zone).toMatchObject({
      oomKilled: true,
      endMessage: "a process of it was killed: out of memory (limit 256 MiB)",
    });
  });
});
