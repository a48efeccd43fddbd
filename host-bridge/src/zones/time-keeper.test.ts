import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type * as grpc from "@grpc/grpc-js";
import { ReconnectingLink } from "@zone/link";
import { createClient, SystemService, toTimestamp } from "@zone/proto";
import { pino } from "pino";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { ScriptedZones } from "../testing/scripted-zones.js";
import { CLOCK_SLACK_MS, type HostClock, hostClock, setClock, TimeKeeper } from "./time-keeper.js";

const log = pino({ level: "silent" });
const ID = "0".repeat(32);
let directory: string;
let zones: ScriptedZones;
let link: ReconnectingLink;
let client: grpc.Client;

/** The zone's clock, which follows the host's at a distance. */
let zoneClock: { behindMs: number };

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "zt-"));
  zones = new ScriptedZones(directory);
  const domain = await zones.create({ id: ID, memoryBytes: 1, vcpus: 1, disks: [], cold: false });
  link = new ReconnectingLink(domain.record.link, { zoneId: ID });
  client = await link.ready();
});
afterAll(async () => {
  await link.close();
  await (await zones.adopt({ directory: ID } as never))?.destroy();
  await rm(directory, { recursive: true });
});
beforeEach(() => {
  zoneClock = { behindMs: 0 };
  zones.scripts.set("System.Info", () => ({ time: toTimestamp(Date.now() - zoneClock.behindMs) }));
  zones.scripts.set("System.SetTime", () => {
    zoneClock.behindMs = 0;
  });
  zones.calls.length = 0;
});

const calls = (method: string) => zones.calls.filter((call) => call.method === method).length;
const until = (check: () => unknown, value: unknown) =>
  expect.poll(check, { timeout: 30_000, interval: 5 }).toBe(value);

describe("setClock", () => {
  it("asks a healthy zone once, and sets nothing", async () => {
    expect(await setClock(client, hostClock)).toBe(0);
    expect(zones.calls.map(({ method }) => method)).toEqual(["System.Info"]);
  });

  it.each([5_000, -5_000, 86_400_000])("sets a clock that is %i ms behind", async (behindMs) => {
    zoneClock.behindMs = behindMs;
    const adjusted = await setClock(client, hostClock);
    expect(Math.abs(adjusted - behindMs)).toBeLessThan(CLOCK_SLACK_MS * 4);
    expect(zoneClock.behindMs).toBe(0);
  });

  it.each([undefined, { seconds: 2 ** 60 }, { nanos: -5 }])("bears a zone that says %o", async (time) => {
    zones.scripts.set("System.Info", () => ({ time }));
    await setClock(client, hostClock);
    expect(calls("System.SetTime")).toBeLessThanOrEqual(3);
  });
});

describe("a time keeper", () => {
  /** A host's clocks that are told what to say. */
  class ToldClock implements HostClock {
    slept = 0;
    monotonicMs = 0;
    wall = () => Date.now() + this.slept;
    monotonic = () => this.monotonicMs || performance.now();
  }

  it("looks at each zone in its turn, not before", async () => {
    const keeper = new TimeKeeper({ clock: hostClock, random: () => 0.5, tickMs: 5, intervalMs: 60 });
    const kept = keeper.keep(async () => client, log);
    await until(() => calls("System.Info") >= 3, true);
    kept.stop();
    keeper.close();
    const before = calls("System.Info");
    await kept.check(); // nobody looks any more
    expect(calls("System.Info")).toBe(before);
    expect(calls("System.SetTime")).toBe(0);
  });

  it("looks at all of them when the host's clock was set, or it slept", async () => {
    const clock = new ToldClock();
    const keeper = new TimeKeeper({ clock, random: () => 0.5, tickMs: 5 });
    const kept = [keeper.keep(async () => client, log), keeper.keep(async () => client, log)];
    clock.slept = 3_600_000;
    await until(() => calls("System.SetTime") >= 2, true);
    keeper.close();
    await Promise.all(kept.map((each) => each.check())); // those that are under way
  });

  it("lets paused zones be, and asks once at a time", async () => {
    const keeper = new TimeKeeper({ clock: hostClock, random: () => 0.5 });
    const kept = keeper.keep(async () => client, log);
    kept.suspend();
    await kept.check();
    expect(calls("System.Info")).toBe(0);
    kept.resume();
    await Promise.all([kept.check(), kept.check(), kept.check()]);
    expect(calls("System.Info")).toBe(1);
    keeper.close();
  });

  it("bears a zone that cannot be asked", async () => {
    const keeper = new TimeKeeper({ clock: hostClock, random: () => 0.5 });
    const kept = keeper.keep(() => Promise.reject(new Error("its link is down")), log);
    await kept.check();
    keeper.close();
    expect(await createClient(SystemService, client).info({})).toBeDefined();
  });
});
