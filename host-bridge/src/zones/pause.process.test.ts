import { bridge } from "@zone/proto";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { inZone, TestBridge } from "../testing/test-bridge.js";

const { EndCause, ZoneState } = bridge;

let host: TestBridge;
beforeEach(async () => {
  host = await TestBridge.start();
});
afterEach(() => host.close());

const stateOf = async (id: string) => (await host.zones.get({ zone: id })).zone?.state;

describe("a paused zone, with a real agent", () => {
  it("answers again when it is resumed, also calls that were under way", async () => {
    const id = await host.run("sleep 1000");
    const waiting = host.process.wait({ id: "main" }, inZone(id));
    await host.zones.pause({ zone: id });
    expect(await stateOf(id)).toBe(ZoneState.ZONE_STATE_PAUSED);
    await expect(host.process.list({}, inZone(id))).rejects.toMatchObject({ reason: "ZONE_PAUSED" });
    await host.zones.resume({ zone: id });
    await host.process.signal({ id: "main", signal: 9 }, inZone(id));
    expect((await waiting).process?.exit?.signal).toBe(9);
    expect((await host.zones.wait({ zone: id })).zone).toMatchObject({ exitCode: 137 });
  });

  it.each(["SIGKILL", "SIGTERM"] as const)("is found paused after a bridge's %s", async (signal) => {
    const id = await host.run("sleep 1000");
    await host.zones.pause({ zone: id });
    await host.end(signal);
    await host.launch();
    expect(await stateOf(id)).toBe(ZoneState.ZONE_STATE_PAUSED);
    await expect(host.process.list({}, inZone(id))).rejects.toMatchObject({ reason: "ZONE_PAUSED" });
    await host.zones.resume({ zone: id });
    const { processes } = await host.process.list({}, inZone(id));
    expect(processes.map((process) => process.id)).toEqual(["main"]);
  });

  it("can be stopped: its main process ends as it would have", async () => {
    const id = await host.run("trap 'exit 7' TERM; while :; do sleep 0.05; done");
    await host.zones.pause({ zone: id });
    const { zone } = await host.zones.stop({ zone: id, timeout: { seconds: 60 } });
    expect(zone?.endCause).toBe(EndCause.END_CAUSE_STOPPED);
    expect([7, 143]).toContain(zone?.exitCode); // sh may not have come to its trap yet
  });

  it("grows when it runs again", async () => {
    const id = await host.run("sleep 1000", { maxCpus: 2 });
    await host.zones.pause({ zone: id });
    await expect(host.zones.update({ zone: id, cpuMillis: 2000 })).rejects.toMatchObject({ reason: "ZONE_PAUSED" });
    await host.zones.resume({ zone: id });
    expect((await host.zones.update({ zone: id, cpuMillis: 2000 })).zone).toMatchObject({ vcpus: 2 });
  });
});
