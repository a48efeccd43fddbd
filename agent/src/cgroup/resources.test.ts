import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { applySettings, readResources, settingsOf } from "./resources.js";

const disks = (serial: string) => (serial === "data" ? "254:16" : undefined);
const written = (resources: Parameters<typeof settingsOf>[0]) =>
  settingsOf(resources, disks).map(({ file, value }) => `${file}=${value}`);

describe("settingsOf", () => {
  it("asks for nothing when nothing is present", () => {
    expect(written({})).toEqual([]);
  });

  it("writes every field, protections first", () => {
    expect(
      written({
        ...{ cpuMillis: 1500, cpuWeight: 200, cpusetCpus: "0-2,4", cpusetMems: "" },
        ...{
          memoryBytes: 1 << 28,
          memoryHighBytes: 1 << 27,
          memoryLowBytes: 4096,
          memoryMinBytes: 0,
          memorySwapBytes: 0,
        },
        ...{ pids: 100, ioWeight: 0, oomGroup: true, hugepages: [{ pageSize: "2MB", bytes: 1 << 21 }] },
        io: [
          { device: "data", readBytesPerSecond: 1000 },
          { device: "8:0", writeOperationsPerSecond: 7 },
        ],
      }),
    ).toEqual([
      "cpu.max=150000 100000",
      "cpu.weight=200",
      "cpuset.cpus=0-2,4\n",
      "cpuset.mems=\n",
      "memory.min=0",
      "memory.low=4096",
      "memory.high=134217728",
      "memory.swap.max=0",
      "memory.max=268435456",
      "memory.oom.group=1",
      "pids.max=100",
      "io.max=254:16 rbps=1000 wbps=max riops=max wiops=max",
      "io.max=8:0 rbps=max wbps=max riops=max wiops=7",
      "io.weight=100",
      "hugetlb.2MB.max=2097152",
    ]);
  });

  it("0 is no limit", () => {
    expect(written({ cpuMillis: 0, memoryBytes: 0, pids: 0, memoryHighBytes: 0 })).toEqual([
      "cpu.max=max 100000",
      "memory.high=max",
      "memory.max=max",
      "pids.max=max",
    ]);
    expect(written({ memorySwapUnlimited: true })).toEqual(["memory.swap.max=max"]);
  });

  it("counts the quota in the period that is asked for, at least a millisecond", () => {
    expect(written({ cpuMillis: 500, cpuPeriodUs: 20_000 })).toEqual(["cpu.max=10000 20000"]);
    expect(written({ cpuMillis: 1 })).toEqual(["cpu.max=1000 100000"]);
  });

  it.each([
    ["a period alone", { cpuPeriodUs: 50_000 }],
    ["a short period", { cpuMillis: 1, cpuPeriodUs: 999 }],
    ["a heavy weight", { cpuWeight: 10_001 }],
    ["words for cpus", { cpusetCpus: "all" }],
    ["more bytes than can be counted", { memoryBytes: 2 ** 60 }],
    ["both kinds of swap", { memorySwapBytes: 1, memorySwapUnlimited: true }],
    ["an unknown disk", { io: [{ device: "nope" }] }],
    ["a path for a disk", { io: [{ device: "../../x" }] }],
    ["an odd page size", { hugepages: [{ pageSize: "../2MB", bytes: 1 }] }],
    ["too many disks", { io: Array(65).fill({ device: "8:0" }) }],
  ])("refuses %s", (_, resources) => {
    expect(() => settingsOf(resources, disks)).toThrow(expect.objectContaining({ reason: "INVALID_LIMIT" }));
  });
});

describe("a cgroup's folder", () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "zone-cgroup-"));
  });
  afterEach(() => rmSync(folder, { recursive: true }));
  const files = (contents: Record<string, string>) => {
    for (const [name, text] of Object.entries(contents)) writeFileSync(join(folder, name), text);
  };

  it("is set back when a setting is refused", () => {
    files({ "cpu.weight": "100", "pids.max": "999" });
    const settings = settingsOf({ cpuWeight: 200, pids: 111, ioWeight: 5 }, disks);
    expect(() => applySettings(folder, settings)).toThrow(
      expect.objectContaining({
        reason: "CONTROLLER_MISSING",
        metadata: expect.objectContaining({ file: "io.weight" }),
      }),
    );
    expect(readFileSync(join(folder, "cpu.weight"), "utf8")).toBe("100");
    expect(readFileSync(join(folder, "pids.max"), "utf8")).toBe("999");
  });

  it("has bfq's weight where there is no other", () => {
    files({ "io.bfq.weight": "default 100" });
    applySettings(folder, settingsOf({ ioWeight: 200 }, disks));
    expect(readFileSync(join(folder, "io.bfq.weight"), "utf8")).toContain("200");
  });

  it("reads back as Resources", () => {
    files({
      "cpu.max": "150000 100000\n",
      "cpu.weight": "100\n",
      "cpuset.cpus": "\n",
      "memory.max": "max\n",
      "memory.low": "4096\n",
      "memory.swap.max": "max\n",
      "pids.max": "10\n",
      "io.max": "254:16 rbps=1000 wbps=max riops=max wiops=max\n",
      "io.weight": "default 50\n254:16 70\n",
      "memory.oom.group": "0\n",
    });
    expect(readResources(folder, new Map([["254:16", "data"]]))).toMatchObject({
      ...{
        cpuMillis: 1500,
        cpuPeriodUs: 100_000,
        cpuWeight: 100,
        cpusetCpus: "",
        memoryBytes: 0,
        memoryLowBytes: 4096,
      },
      ...{ memorySwapUnlimited: true, memorySwapBytes: undefined, pids: 10, ioWeight: 50, oomGroup: false },
      io: [{ device: "data", readBytesPerSecond: 1000, writeBytesPerSecond: undefined }],
    });
  });
});
