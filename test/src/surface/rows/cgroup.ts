import { expect } from "vitest";
import { argv } from "../../harness/exec.js";
import { firstMessage, type Row, refused, type SurfaceZone, works } from "../row.js";

/** Makes a cgroup for one case, and removes it. */
async function withCgroup(
  zone: SurfaceZone,
  resources: Parameters<SurfaceZone["bridge"]["cgroup"]["create"]>[0]["resources"],
  use: (path: string) => Promise<void>,
): Promise<void> {
  const path = "case";
  await zone.bridge.cgroup.create({ path, resources }, zone.in());
  try {
    await use(path);
  } finally {
    await zone.bridge.cgroup.kill({ path }, zone.in());
    await retryBusy(() => zone.bridge.cgroup.delete({ path }, zone.in()));
  }
}

/** A killed process leaves its cgroup a moment after it is gone. */
async function retryBusy(act: () => Promise<unknown>): Promise<void> {
  for (let tries = 0; ; tries++) {
    try {
      await act();
      return;
    } catch (error) {
      if (tries > 200 || (error as { reason?: string }).reason !== "CGROUP_BUSY") throw error;
    }
  }
}

/** What the kernel has after an Update. */
function sets(fields: string[], name: string, resources: object, expected: object): Row {
  return works(
    "Cgroup.Update",
    ["UpdateCgroupRequest.path", "UpdateCgroupRequest.resources", ...fields],
    name,
    (zone) =>
      withCgroup(zone, {}, async (path) => {
        const answer = await zone.bridge.cgroup.update({ path, resources }, zone.in());
        expect(answer.resources).toMatchObject(expected);
      }),
  );
}

const wrong = (field: string, name: string, resources: object): Row =>
  refused("Cgroup.Create", [field], "INVALID_LIMIT", name, (zone) =>
    zone.bridge.cgroup.create({ path: "wrong", resources }, zone.in()),
  );

const HUGE = 2 ** 60;
const TOO_LARGE: [field: string, resources: object][] = [
  ["Resources.memory_bytes", { memoryBytes: HUGE }],
  ["Resources.memory_high_bytes", { memoryHighBytes: HUGE }],
  ["Resources.memory_low_bytes", { memoryLowBytes: HUGE }],
  ["Resources.memory_min_bytes", { memoryMinBytes: HUGE }],
  ["Resources.memory_swap_bytes", { memorySwapBytes: HUGE }],
  ["Resources.pids", { pids: HUGE }],
  ["IoLimit.read_bytes_per_second", { io: [{ device: "1:1", readBytesPerSecond: HUGE }] }],
  ["IoLimit.write_bytes_per_second", { io: [{ device: "1:1", writeBytesPerSecond: HUGE }] }],
  ["IoLimit.read_operations_per_second", { io: [{ device: "1:1", readOperationsPerSecond: HUGE }] }],
  ["IoLimit.write_operations_per_second", { io: [{ device: "1:1", writeOperationsPerSecond: HUGE }] }],
  ["HugepageLimit.bytes", { hugepages: [{ pageSize: "2MB", bytes: HUGE }] }],
];

export const cgroupRows: Row[] = [
  works(
    "Cgroup.Create",
    ["CreateCgroupRequest.path", "CreateCgroupRequest.resources"],
    "makes a cgroup with its limits",
    (zone) =>
      withCgroup(zone, { pids: 7 }, async (path) => {
        const { cgroups } = await zone.bridge.cgroup.list({}, zone.in());
        expect(cgroups.find((each) => each.path === path)).toMatchObject({ populated: false, resources: { pids: 7 } });
      }),
  ),
  refused("Cgroup.Create", ["CreateCgroupRequest.path"], "INVALID_CGROUP", "a path out of the zone's cgroup", (zone) =>
    zone.bridge.cgroup.create({ path: "../agent/x" }, zone.in()),
  ),
  refused("Cgroup.Create", [], "CGROUP_EXISTS", "a name that is taken", (zone) =>
    zone.bridge.cgroup.create({ path: "main" }, zone.in()),
  ),
  refused("Cgroup.Create", [], "CGROUP_BUSY", "below one that has processes", (zone) =>
    zone.bridge.cgroup.create({ path: "main/child" }, zone.in()),
  ),
  refused(
    "Cgroup.Create",
    ["CreateCgroupRequest.resources", "IoLimit.device"],
    "INVALID_LIMIT",
    "a limit for a disk that is not there, and makes nothing",
    (zone) =>
      zone.bridge.cgroup.create({ path: "half/made", resources: { pids: 1, io: [{ device: "none" }] } }, zone.in()),
    async (zone) => {
      const { cgroups } = await zone.bridge.cgroup.list({}, zone.in());
      expect(cgroups.map(({ path }) => path)).not.toContain("half");
    },
  ),
  works("Cgroup.List", [], "knows whose they are", async (zone) => {
    const { cgroups } = await zone.bridge.cgroup.list({}, zone.in());
    expect(cgroups.find(({ path }) => path === "main")).toMatchObject({ containerId: "main", populated: true });
  }),

  sets(
    ["Resources.cpu_millis", "Resources.cpu_period_us"],
    "sets cpu.max",
    { cpuMillis: 500, cpuPeriodUs: 50_000 },
    { cpuMillis: 500, cpuPeriodUs: 50_000 },
  ),
  sets(["Resources.cpu_weight"], "sets cpu.weight", { cpuWeight: 50 }, { cpuWeight: 50 }),
  sets(
    ["Resources.cpuset_cpus", "Resources.cpuset_mems"],
    "sets the cpuset",
    { cpusetCpus: "0", cpusetMems: "0" },
    { cpusetCpus: "0", cpusetMems: "0" },
  ),
  sets(
    ["Resources.memory_bytes", "Resources.memory_high_bytes"],
    "sets memory.max and memory.high",
    { memoryBytes: 1 << 25, memoryHighBytes: 1 << 24 },
    { memoryBytes: 1 << 25, memoryHighBytes: 1 << 24 },
  ),
  sets(
    ["Resources.memory_low_bytes", "Resources.memory_min_bytes"],
    "sets the protections",
    { memoryLowBytes: 8192, memoryMinBytes: 4096 },
    { memoryLowBytes: 8192, memoryMinBytes: 4096 },
  ),
  sets(
    ["Resources.memory_swap_bytes"],
    "forbids swap",
    { memorySwapBytes: 0 },
    { memorySwapBytes: 0, memorySwapUnlimited: false },
  ),
  sets(
    ["Resources.memory_swap_unlimited"],
    "allows swap",
    { memorySwapUnlimited: true },
    { memorySwapUnlimited: true },
  ),
  sets(["Resources.io_weight"], "sets io.weight", { ioWeight: 50 }, { ioWeight: 50 }),
  sets(["Resources.pids"], "sets pids.max", { pids: 33 }, { pids: 33 }),
  sets(["Resources.oom_group"], "sets memory.oom.group", { oomGroup: true }, { oomGroup: true }),
  sets(
    [
      "Resources.io",
      "IoLimit.device",
      "IoLimit.read_bytes_per_second",
      "IoLimit.write_bytes_per_second",
      "IoLimit.read_operations_per_second",
      "IoLimit.write_operations_per_second",
    ],
    "sets io.max of a disk by its serial",
    {
      io: [
        {
          device: "w0",
          readBytesPerSecond: 1 << 20,
          writeBytesPerSecond: 1 << 21,
          readOperationsPerSecond: 100,
          writeOperationsPerSecond: 200,
        },
      ],
    },
    {
      io: [
        {
          device: "w0",
          readBytesPerSecond: 1 << 20,
          writeBytesPerSecond: 1 << 21,
          readOperationsPerSecond: 100,
          writeOperationsPerSecond: 200,
        },
      ],
    },
  ),
  sets(
    ["Resources.hugepages", "HugepageLimit.page_size", "HugepageLimit.bytes"],
    "sets hugetlb.2MB.max",
    { hugepages: [{ pageSize: "2MB", bytes: 1 << 21 }] },
    { hugepages: [{ pageSize: "2MB", bytes: 1 << 21 }] },
  ),

  wrong("Resources.cpu_period_us", "a period that is too short", { cpuMillis: 1, cpuPeriodUs: 999 }),
  wrong("Resources.cpu_weight", "a weight beyond 10,000", { cpuWeight: 10_001 }),
  wrong("Resources.cpuset_cpus", "words for cpus", { cpusetCpus: "all" }),
  wrong("Resources.cpuset_mems", "a memory node that is not there", { cpusetMems: "63" }),
  wrong("Resources.memory_swap_unlimited", "two answers about swap", { memorySwapBytes: 1, memorySwapUnlimited: true }),
  ...TOO_LARGE.map(([field, resources]) => wrong(field, "more than can be counted", resources)),
  refused(
    "Cgroup.Create",
    ["Resources.hugepages", "HugepageLimit.page_size"],
    "CONTROLLER_MISSING",
    "pages of a size that the machine has not",
    (zone) =>
      zone.bridge.cgroup.create(
        { path: "wrong", resources: { hugepages: [{ pageSize: "3MB", bytes: 0 }] } },
        zone.in(),
      ),
  ),
  refused("Cgroup.Update", ["UpdateCgroupRequest.resources"], "INVALID_LIMIT", "a weight beyond 10,000", (zone) =>
    zone.bridge.cgroup.update({ path: "main", resources: { cpuWeight: 10_001 } }, zone.in()),
  ),
  wrong("Resources.io", "too many disks", { io: Array(65).fill({ device: "254:0" }) }),
  wrong("Resources.io_weight", "a weight beyond 10,000", { ioWeight: 10_001 }),
  wrong("HugepageLimit.page_size", "a page size of another kind", { hugepages: [{ pageSize: "../x", bytes: 1 }] }),
  refused("Cgroup.Update", ["UpdateCgroupRequest.path"], "CGROUP_UNKNOWN", "an unknown cgroup", (zone) =>
    zone.bridge.cgroup.update({ path: "none", resources: { pids: 1 } }, zone.in()),
  ),
  works("Cgroup.Update", [], "sets back what it had set when a later setting is refused", (zone) =>
    withCgroup(zone, { cpuWeight: 77 }, async (path) => {
      const resources = { cpuWeight: 200, io: [{ device: "1:9", readBytesPerSecond: 1 }] };
      await expect(zone.bridge.cgroup.update({ path, resources }, zone.in())).rejects.toMatchObject({
        reason: "INVALID_LIMIT",
      });
      const { cgroups } = await zone.bridge.cgroup.list({}, zone.in());
      expect(cgroups.find((each) => each.path === path)?.resources?.cpuWeight).toBe(77);
    }),
  ),

  works("Cgroup.Stats", ["CgroupStatsRequest.path"], "counts what a container uses", async (zone) => {
    const stats = await zone.bridge.cgroup.stats({ path: "main" }, zone.in());
    expect(stats.cpu?.usageUs).toBeGreaterThan(0);
    expect(stats.memory?.currentBytes).toBeGreaterThan(0);
    expect(stats.pids?.current).toBeGreaterThan(0);
    expect(stats.cpu?.pressure).toBeDefined();
    expect(await zone.bridge.cgroup.stats({}, zone.in())).toMatchObject({ path: "" });
  }),
  refused("Cgroup.Stats", ["CgroupStatsRequest.path"], "CGROUP_UNKNOWN", "an unknown cgroup", (zone) =>
    zone.bridge.cgroup.stats({ path: "none" }, zone.in()),
  ),

  works(
    "Cgroup.Freeze",
    [
      "FreezeCgroupRequest.path",
      "ThawCgroupRequest.path",
      "KillCgroupRequest.path",
      "DeleteCgroupRequest.path",
      "ProcessSpec.cgroup",
    ],
    "stops a process that was started in it, and Thaw lets it go on",
    (zone) =>
      withCgroup(zone, {}, async (path) => {
        const spec = { id: "frozen", cgroup: path, argv: argv("/sbin/zone-init", "--pause") };
        await zone.bridge.process_.start({ spec }, zone.in());
        const state = async () =>
          (await zone.bridge.cgroup.list({}, zone.in())).cgroups.find((each) => each.path === path);
        await zone.bridge.cgroup.freeze({ path }, zone.in());
        expect(await state()).toMatchObject({ frozen: true, populated: true });
        await zone.bridge.cgroup.thaw({ path }, zone.in());
        expect(await state()).toMatchObject({ frozen: false });
        await zone.bridge.cgroup.kill({ path }, zone.in());
        const { process } = await zone.bridge.process_.wait({ id: "frozen" }, zone.in());
        expect(process?.exit?.signal).toBe(9);
        await zone.bridge.process_.delete({ id: "frozen" }, zone.in());
      }),
  ),
  works("Cgroup.Thaw", ["ThawCgroupRequest.path"], "of what is not frozen is no error", (zone) =>
    withCgroup(zone, {}, async (path) => {
      await zone.bridge.cgroup.thaw({ path }, zone.in());
    }),
  ),
  works("Cgroup.Kill", ["KillCgroupRequest.path"], "of an empty one is no error", (zone) =>
    withCgroup(zone, {}, async (path) => {
      await zone.bridge.cgroup.kill({ path }, zone.in());
    }),
  ),
  works("Cgroup.Delete", ["DeleteCgroupRequest.path"], "takes it away", async (zone) => {
    await zone.bridge.cgroup.create({ path: "gone" }, zone.in());
    await zone.bridge.cgroup.delete({ path: "gone" }, zone.in());
    await expect(zone.bridge.cgroup.delete({ path: "gone" }, zone.in())).rejects.toMatchObject({
      reason: "CGROUP_UNKNOWN",
    });
  }),
  ...(["freeze", "thaw", "kill", "delete"] as const).map((method) => {
    const name = method[0]?.toUpperCase() + method.slice(1);
    return refused(`Cgroup.${name}`, [`${name}CgroupRequest.path`], "INVALID_CGROUP", "the agent's cgroup", (zone) =>
      zone.bridge.cgroup[method]({ path: "../agent" }, zone.in()),
    );
  }),
  refused("Cgroup.Delete", [], "CGROUP_OWNED", "a container's", (zone) =>
    zone.bridge.cgroup.delete({ path: "main" }, zone.in()),
  ),

  works("Cgroup.Watch", ["WatchCgroupRequest.path"], "tells of processes that come and go", (zone) =>
    withCgroup(zone, {}, async (path) => {
      const call = zone.bridge.cgroup.watch({ path }, zone.in());
      const seen: boolean[] = [];
      const both = new Promise<void>((resolve, reject) => {
        call.on("error", reject);
        call.on("data", (event) => {
          if (event.subscribed) start().catch(reject);
          if (!event.populated) return;
          seen.push(event.populated.populated ?? false);
          // Only when it has been told of: two changes that come together are none.
          if (seen.length === 1) zone.bridge.cgroup.kill({ path }, zone.in()).catch(reject);
          else resolve();
        });
      });
      const start = () =>
        zone.bridge.process_.start(
          { spec: { id: "short", cgroup: path, argv: argv("/sbin/zone-init", "--pause") } },
          zone.in(),
        );
      await both;
      call.on("error", () => {});
      call.cancel();
      expect(seen).toEqual([true, false]);
      await zone.bridge.process_.delete({ id: "short" }, zone.in());
    }),
  ),
  refused("Cgroup.Watch", ["WatchCgroupRequest.path"], "CGROUP_UNKNOWN", "an unknown cgroup", (zone) =>
    firstMessage(zone.bridge.cgroup.watch({ path: "none" }, zone.in())),
  ),
];
