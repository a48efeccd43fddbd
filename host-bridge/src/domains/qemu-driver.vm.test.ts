import { existsSync } from "node:fs";
import { stat } from "node:fs/promises";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { startTimeOf } from "./qemu-process.js";
import { DriverScratch, running, uidsOf } from "./testing/driver-scratch.js";
import { zoneImageDirectory } from "./testing/guest-image.js";

const root = process.getuid?.() === 0;

describe.skipIf(zoneImageDirectory() === undefined)("a domain of QemuDriver", () => {
  let scratch: DriverScratch;
  beforeAll(async () => {
    scratch = await DriverScratch.make();
  });
  afterEach(async () => {
    await scratch.destroyDomains();
    expect(await scratch.leftovers()).toEqual([]);
  });
  afterAll(() => scratch.remove());

  const disk = (serial: string) => ({ path: scratch.diskPath, serial });

  it("boots a kernel with all its disks, and powers off from inside", async () => {
    const domain = await scratch.create(scratch.driver(), { cold: true, disks: [disk("w0"), disk("w1")] });
    expect(domain.cloned).toBe(false);
    const link = await running(domain);
    expect(await link.ask("disk w0")).toBe("vdb 16384 WORKLOAD-IMAGE-0");
    expect(await link.ask("disk w1")).toBe("vdc 16384 WORKLOAD-IMAGE-0");
    link.tell("off");
    expect(await domain.ended).toEqual({ cause: "powered-off" });
    expect(existsSync(domain.record.directory)).toBe(false);
    expect(await startTimeOf(domain.record.pid)).toBeUndefined();
    await expect(domain.resume()).rejects.toMatchObject({ reason: "DOMAIN_ENDED" });
    await domain.destroy();
  });

  it("is cloned, with a disk in the placeholder's place and another one plugged in", async () => {
    const domain = await scratch.create(scratch.driver(), { disks: [disk("w0"), disk("w1")] });
    expect(domain.cloned).toBe(true);
    const link = await running(domain);
    expect(await link.ask("disk w0")).toMatch(/^vdb \d+ WORKLOAD-IMAGE-0$/);
    expect(await link.ask("disk w1")).toBe("vdc 16384 WORKLOAD-IMAGE-0");
  });

  it("tells a panic from a power-off, with what the console said, and leaves its siblings alone", async () => {
    const driver = scratch.driver();
    const [dying, reset, other] = [
      await scratch.create(driver),
      await scratch.create(driver),
      await scratch.create(driver),
    ];
    const otherLink = await running(other);
    (await running(dying)).tell("panic");
    (await running(reset)).tell("reset");
    const end = await dying.ended;
    expect(end).toMatchObject({ cause: "panicked", message: expect.stringContaining("Attempted to kill init") });
    expect((await dying.console()).toString()).toContain("Kernel panic");
    expect((await reset.ended).cause).toBe("panicked");
    expect(await otherLink.ask("ping")).toBe("pong");
  });

  it("is lost when its VMM is killed", async () => {
    const domain = await scratch.create(scratch.driver());
    process.kill(domain.record.pid, "SIGKILL");
    expect(await domain.ended).toEqual({ cause: "lost", message: "the VMM ended by SIGKILL" });
  });

  it("is destroyed in any state: stopped, running, paused, twice, or with a VMM that hangs", async () => {
    const driver = scratch.driver();
    const stopped = await scratch.create(driver);
    const live = await scratch.create(driver);
    await running(live);
    const paused = await scratch.create(driver);
    await running(paused);
    await paused.pause();
    const hanging = await scratch.create(driver);
    process.kill(hanging.record.pid, "SIGSTOP");
    for (const domain of [stopped, live, paused, hanging]) {
      await Promise.all([domain.destroy(), domain.destroy()]);
      expect(await domain.ended).toEqual({ cause: "destroyed" });
      expect(await startTimeOf(domain.record.pid)).toBeUndefined();
    }
  });

  it("does nothing while it is paused, and goes on", async () => {
    const domain = await scratch.create(scratch.driver());
    const link = await running(domain);
    await domain.pause();
    const answer = link.ask("ping");
    expect(await Promise.race([answer, new Promise((resolve) => setTimeout(() => resolve("silence"), 100))])).toBe(
      "silence",
    );
    await domain.resume();
    expect(await answer).toBe("pong");
  });

  it.runIf(root)("has a VMM with a user of its own, which no folder belongs to when the guest runs", async () => {
    const driver = scratch.driver();
    const domains = [await scratch.create(driver), await scratch.create(driver)];
    const users = await Promise.all(domains.map(({ record }) => uidsOf(record.pid)));
    expect(users.map(([uid]) => uid)).toEqual(domains.map(({ record }) => record.uid));
    for (const four of users) expect(new Set(four).size).toBe(1);
    expect(new Set(domains.map(({ record }) => record.uid)).size).toBe(2);
    for (const { record } of domains) {
      expect(record.uid).toBeGreaterThanOrEqual(0x60000000);
      expect((await stat(record.directory)).uid).toBe(0);
    }
  });

  it("keeps no more of a console than its bounds", async () => {
    const domain = await scratch.create(scratch.driver());
    const link = await running(domain);
    expect(await link.ask("flood 300")).toBe("done");
    expect((await domain.console()).length).toBe(64 * 1024);
  });

  it.each([
    ["a missing disk", { disks: [{ path: "/no/such/disk", serial: "w0" }] }, {}, "FILE_UNREADABLE"],
    ["too little memory", { memoryBytes: 32 << 20 }, {}, "MEMORY_TOO_SMALL"],
    ["no QEMU", {}, { binary: "no-such-qemu" }, "NO_HYPERVISOR"],
    ["no zone image", {}, { imageDirectory: "/no/such/image" }, "NO_ZONE_IMAGE"],
  ])("is refused for %s, and leaves nothing", async (what, config, options, reason) => {
    const made = scratch.create(scratch.driver(options), { cold: true, ...config });
    await expect(made, what).rejects.toMatchObject({ reason });
  });
});
