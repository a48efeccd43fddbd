import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { blockSerials } from "./block-serials.js";
import { parseFlat, parseNested, readControl, readNumber } from "./control-file.js";
import { checkCgroupPath, pathOfKernelName } from "./path.js";
import { parsePressure, readStats } from "./stats.js";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "zone-cgroup-"));
});
afterEach(() => rmSync(folder, { recursive: true }));
const files = (contents: Record<string, string>) => {
  for (const [name, text] of Object.entries(contents)) writeFileSync(join(folder, name), text);
};

describe("checkCgroupPath", () => {
  it.each(["web", "web/workers", "a.b-c_d/0", `${"x".repeat(64)}`])("takes %s", (path) => {
    expect(checkCgroupPath(path)).toBe(path);
  });
  it.each([
    "",
    "/web",
    "web/",
    "web//x",
    "../agent",
    "web/..",
    ".",
    "a b",
    "memory.max",
    "web/cgroup.procs",
    "x".repeat(65),
  ])("refuses %j", (path) => {
    expect(() => checkCgroupPath(path)).toThrow(expect.objectContaining({ reason: "INVALID_CGROUP" }));
  });
  it("bounds the depth", () => {
    expect(() => checkCgroupPath("a/a/a/a/a/a/a/a/a")).toThrow(expect.objectContaining({ reason: "INVALID_CGROUP" }));
  });
  it("never lets a path out of the zone's cgroup", () => {
    fc.assert(
      fc.property(fc.string(), (path) => {
        try {
          expect(join("/zone", checkCgroupPath(path))).toBe(`/zone/${path}`);
        } catch (error) {
          expect(error).toMatchObject({ reason: "INVALID_CGROUP" });
        }
      }),
    );
  });
  it("knows the kernel's names", () => {
    expect(pathOfKernelName("/zone")).toBe("");
    expect(pathOfKernelName("/zone/web/x")).toBe("web/x");
    expect(pathOfKernelName("/agent")).toBeUndefined();
    expect(pathOfKernelName("/zoned/x")).toBeUndefined();
  });
});

describe("control files", () => {
  it("reads flat and nested keys, and leaves out what is neither", () => {
    expect([...parseFlat("a 1\nb max\nc\n\nd 22")]).toEqual([
      ["a", 1],
      ["d", 22],
    ]);
    const nested = parseNested("254:0 rbytes=1 wbytes=2\n254:16\n");
    expect(nested.get("254:0")?.get("wbytes")).toBe("2");
    expect(nested.get("254:16")?.size).toBe(0);
  });
  it("takes any text", () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        parseFlat(text);
        parseNested(text);
        parsePressure(text);
      }),
    );
  });
  it("reads what is not there, and max, as undefined", () => {
    files({ "memory.max": "max\n", "pids.current": "7\n" });
    expect(readControl(folder, "no")).toBeUndefined();
    expect(readNumber(folder, "memory.max")).toBeUndefined();
    expect(readNumber(folder, "pids.current")).toBe(7);
  });
});

it("statistics have all that the files have", () => {
  files({
    "cpu.stat": "usage_usec 10\nuser_usec 6\nsystem_usec 4\nnr_periods 3\nnr_throttled 2\nthrottled_usec 1\n",
    "cpu.pressure": "some avg10=1.50 avg60=0.00 avg300=0.00 total=9\nfull avg10=0.25 avg60=0.00 avg300=0.00 total=3\n",
    "memory.current": "4096\n",
    "memory.peak": "8192\n",
    "memory.max": "1048576\n",
    "memory.stat": "anon 1\nfile 2\nkernel 3\nshmem 4\ninactive_file 5\npgfault 6\npgmajfault 7\n",
    "memory.events": "low 1\nhigh 2\nmax 3\noom 4\noom_kill 5\n",
    "io.stat": "254:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0\n254:16 \n",
    "pids.current": "2\n",
    "pids.max": "max\n",
    "pids.events": "max 8\n",
    "hugetlb.2MB.current": "0\n",
    "hugetlb.2MB.max": "max\n",
  });
  expect(readStats(folder, "web", new Map([["254:0", "w0"]]), 0)).toMatchObject({
    path: "web",
    cpu: {
      usageUs: 10,
      userUs: 6,
      systemUs: 4,
      periods: 3,
      throttledPeriods: 2,
      throttledUs: 1,
      pressure: { someAvg10: 150, someTotalUs: 9, fullAvg10: 25 },
    },
    memory: {
      currentBytes: 4096,
      peakBytes: 8192,
      limitBytes: 1048576,
      anonymousBytes: 1,
      oomEvents: 4,
      oomKills: 5,
      kernelBytes: 3,
      pressure: undefined,
    },
    io: [{ device: "254:0", serial: "w0", readBytes: 1, writeBytes: 2, readOperations: 3, writeOperations: 4 }],
    pids: { current: 2, limit: undefined, maxEvents: 8 },
    hugepages: [{ pageSize: "2MB", currentBytes: 0, limitBytes: undefined }],
  });
});

it("names disks by their serials", () => {
  for (const [disk, number, serial] of [
    ["vda", "254:0", "w0"],
    ["vdb", "254:16", ""],
  ] as const) {
    mkdirSync(join(folder, disk));
    writeFileSync(join(folder, disk, "dev"), `${number}\n`);
    if (serial) writeFileSync(join(folder, disk, "serial"), `${serial}\n`);
  }
  expect([...blockSerials(folder)]).toEqual([["254:0", "w0"]]);
});
