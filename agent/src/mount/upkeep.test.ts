import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { MountLab } from "./testing/lab.js";

const MIB = 1024 * 1024;
/** ext4 asks for CAP_SYS_RESOURCE, which root has not everywhere; capabilities(7). */
const effective = /^CapEff:\s*(\w+)$/m.exec(readFileSync("/proc/self/status", "latin1"))?.[1] ?? "0";
const mayGrowExt4 = ((BigInt(`0x${effective}`) >> 24n) & 1n) === 1n;
let lab: MountLab;
const devices: Record<string, string> = {};
beforeAll(async () => {
  lab = await MountLab.start();
  devices.e = lab.disk("e", "ext4", 32);
  devices.x = lab.disk("x", "xfs", 320);
  await lab.mounts.mount({ mount: { type: "ext4", source: "serial:e", target: "e" } });
  await lab.mounts.mount({ mount: { type: "xfs", source: "serial:x", target: "x" } });
  await lab.mounts.mount({ mount: { type: "tmpfs", target: "t" } });
  await lab.mounts.mount({ mount: { type: "bind", source: "zone:e", target: "r", options: ["ro"] } });
});
afterAll(() => lab.end());

describe("a freeze", () => {
  it("stops writers until the thaw", async () => {
    await lab.mounts.freeze({ target: "e" });
    let written = false;
    const writing = open(lab.run("mounts/e/new"), "w").then(async (file) => {
      await file.close();
      written = true;
    });
    await expect(lab.mounts.freeze({ target: "e" })).rejects.toMatchObject({ reason: "MOUNT_BUSY" });
    await expect(lab.mounts.unmount({ target: "e" })).rejects.toMatchObject({ reason: "MOUNT_BUSY" });
    expect(written).toBe(false);
    await lab.mounts.thaw({ target: "r" }); // any mount of the same file system
    await writing;
    await lab.mounts.thaw({ target: "e" }); // is thawed already
  });

  it("ends with the agent", async () => {
    await lab.mounts.freeze({ target: "x" });
    await lab.agent.killAgent();
    await (await open(lab.run("mounts/x/new"), "w")).close();
    await lab.mounts.freeze({ target: "x" });
    await lab.mounts.thaw({ target: "x" });
  });

  it("is not for every file system", async () => {
    await expect(lab.mounts.freeze({ target: "t" })).rejects.toMatchObject({ reason: "FS_UNSUPPORTED" });
    await expect(lab.mounts.freeze({ target: "none" })).rejects.toMatchObject({ reason: "MOUNT_UNKNOWN" });
  });
});

it("trim gives back what is unused", async () => {
  writeFileSync(lab.run("mounts/e/large"), Buffer.alloc(8 * MIB, 1));
  rmSync(lab.run("mounts/e/large"));
  const { trimmedBytes } = await lab.mounts.trim({ target: "e" });
  expect(Number(trimmedBytes)).toBeGreaterThan(8 * MIB);
  await expect(lab.mounts.trim({ target: "t" })).rejects.toMatchObject({ reason: "FS_UNSUPPORTED" });
});

describe("resize", () => {
  for (const [name, mib] of [
    ["e", 96],
    ["x", 512],
  ] as const) {
    it.skipIf(name === "e" && !mayGrowExt4)(`grows ${name === "e" ? "ext4" : "xfs"} to its disk's size`, async () => {
      const before = await lab.mounts.stats({ target: name });
      lab.grow(name, devices[name] ?? "", mib);
      const { totalBytes } = await lab.mounts.resize({ target: name });
      expect(Number(totalBytes)).toBeGreaterThan(Number(before.totalBytes) + 32 * MIB);
      expect((await lab.mounts.resize({ target: name })).totalBytes).toBe(totalBytes);
      const stats = await lab.mounts.stats({ target: name });
      expect(Number(stats.usedBytes) + Number(stats.availableBytes)).toBeLessThanOrEqual(Number(stats.totalBytes));
      expect(Number(stats.freeInodes)).toBeLessThan(Number(stats.totalInodes));
    });
  }

  it("refuses what cannot grow", async () => {
    await expect(lab.mounts.resize({ target: "t" })).rejects.toMatchObject({ reason: "FS_UNSUPPORTED" });
    await lab.mounts.mount({ mount: { type: "bind", source: "zone:x", target: "r-x", options: ["ro"] } });
    lab.grow("x", devices.x ?? "", 640);
    await expect(lab.mounts.resize({ target: "r-x" })).rejects.toMatchObject({ reason: "READ_ONLY_FS" });
    await expect(lab.mounts.resize({ target: "none" })).rejects.toMatchObject({ reason: "MOUNT_UNKNOWN" });
  });
});

it("what is frozen is on record, for an agent that comes after", async () => {
  await lab.mounts.freeze({ target: "e" });
  expect(JSON.parse(readFileSync(lab.run("mounts.json"), "utf8")).frozen).toHaveLength(1);
  await lab.mounts.thaw({ target: "e" });
  expect(JSON.parse(readFileSync(lab.run("mounts.json"), "utf8")).frozen).toEqual([]);
});
