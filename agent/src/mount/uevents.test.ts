import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { lookUntilFound, parseUevent } from "./uevents.js";

describe("a uevent", () => {
  it("is an action, a path and variables", () => {
    const text = "add@/devices/pci/block/vdb\0ACTION=add\0SUBSYSTEM=block\0DEVNAME=vdb\0X=a=b\0";
    const event = parseUevent(Buffer.from(text));
    expect(event).toMatchObject({ action: "add", devicePath: "/devices/pci/block/vdb" });
    expect([...(event?.variables ?? [])]).toEqual([
      ["ACTION", "add"],
      ["SUBSYSTEM", "block"],
      ["DEVNAME", "vdb"],
      ["X", "a=b"],
    ]);
  });

  it("is any bytes at all, or none", () => {
    expect(parseUevent(Buffer.from("libudev\0"))).toBeUndefined();
    fc.assert(fc.property(fc.uint8Array(), (bytes) => void parseUevent(bytes)));
  });
});

describe("lookUntilFound", () => {
  for (const events of [true, false]) {
    it(`ends with what it finds, or in time, ${events ? "by events" : "by looking again"}`, async () => {
      const how = { subsystem: "none", events };
      expect(await lookUntilFound(() => "there", { waitMs: 60_000, ...how })).toBe("there");
      expect(await lookUntilFound(() => undefined, { waitMs: 20, ...how })).toBeUndefined();
      const thrown = lookUntilFound(
        () => {
          throw new Error("no");
        },
        { waitMs: 60_000, ...how },
      );
      await expect(thrown).rejects.toThrow("no");
      const abort = new AbortController();
      const aborted = lookUntilFound(() => undefined, { waitMs: 60_000, signal: abort.signal, ...how });
      abort.abort();
      await expect(aborted).rejects.toMatchObject({ name: "AbortError" });
    });
  }

  it("looks again after an event of the kernel", async () => {
    // A write of "change" to a device's uevent file makes the kernel say that: sysfs-uevent in Documentation/ABI.
    const { writeFileSync } = await import("node:fs");
    let looks = 0;
    const found = lookUntilFound(() => (++looks > 1 ? "again" : undefined), {
      ...{ waitMs: 60_000, subsystem: "mem", events: true },
    });
    writeFileSync("/sys/class/mem/null/uevent", "change");
    expect(await found).toBe("again");
  });
});
