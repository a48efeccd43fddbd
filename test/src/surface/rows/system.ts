import { toTimestamp } from "@zone/proto";
import { expect } from "vitest";
import { argv } from "../../harness/exec.js";
import { attached } from "../attached.js";
import { shell } from "../process-case.js";
import { firstMessage, type Row, refused, SurfaceZone, works } from "../row.js";

const HOUR_MS = 3_600_000;
/** A machine that is busy takes its time to carry a call. */
const SLACK_MS = 120_000;

const info = (zone: SurfaceZone) => zone.bridge.system.info({}, zone.in());
const setTime = (zone: SurfaceZone, unixMs: number) =>
  zone.bridge.system.setTime({ time: toTimestamp(unixMs) }, zone.in());
const entropy = (bytes: number) => Buffer.alloc(bytes, 0xa5);

/** The zone's identity as a renewal of it, with the time of the host. */
async function asItIs(zone: SurfaceZone) {
  const { machineId, hostname, instanceId } = await info(zone);
  return { time: toTimestamp(Date.now()), entropy: entropy(32), machineId, hostname, instanceId };
}

/** A Renew that is refused for one thing in it, and leaves the zone who it is. */
function notRenewed(
  field: string,
  reason: string,
  name: string,
  change: Parameters<SurfaceZone["bridge"]["system"]["renew"]>[0],
): Row {
  return refused("System.Renew", [`RenewRequest.${field}`], reason, name, async (zone) => {
    const before = await asItIs(zone);
    try {
      await zone.bridge.system.renew({ ...before, hostname: "changed", ...change }, zone.in());
    } finally {
      expect(await info(zone)).toMatchObject({ hostname: before.hostname, machineId: before.machineId });
    }
  });
}

export const systemRows: Row[] = [
  works("System.Info", [], "tells what the zone is", async (zone) => {
    const answer = await info(zone);
    expect(answer).toMatchObject({ protocolMin: 1, protocolMax: 1, hostname: "surface", cpus: 1 });
    expect(answer.machineId).toMatch(/^[0-9a-f]{32}$/);
    expect(answer.kernelRelease).toBe(await zone.out("uname -r"));
    expect(answer.bootId).toBe(await zone.out("cat /proc/sys/kernel/random/boot_id"));
    expect(answer.features).toEqual(
      expect.arrayContaining(["process", "container", "mount", "cgroup", "network", "file"]),
    );
    const { tasks } = await zone.bridge.process_.list({}, zone.in());
    expect(answer.zombies).toBe(tasks.filter(({ state }) => state === "Z").length);
    const numbers = [answer.memoryTotalBytes, answer.memoryAvailableBytes, answer.uptimeMs, answer.agentRssBytes];
    for (const number of [...numbers, answer.agentPssBytes, answer.agentFds, answer.agentReadyMs])
      expect(number).toBeGreaterThan(0);
  }),
  works("System.Info", ["InfoRequest.brief"], "leaves out what has to be counted", async (zone) => {
    const answer = await zone.bridge.system.info({ brief: true }, zone.in());
    const { agentRssBytes, agentPssBytes, agentFds, zombies } = answer;
    expect({ agentRssBytes, agentPssBytes, agentFds, zombies }).toEqual({
      ...{ agentRssBytes: 0, agentPssBytes: 0, agentFds: 0, zombies: 0 },
    });
    expect(answer.memoryTotalBytes).toBeGreaterThan(0);
  }),

  works("System.SetTime", ["SetTimeRequest.time"], "sets the clock, and says what it was off by", async (zone) => {
    const forward = await setTime(zone, Date.now() + HOUR_MS);
    const seen = Number(await zone.out("date +%s")) * 1000;
    const back = await setTime(zone, Date.now());
    for (const moved of [Number(forward.adjustedMs), seen - Date.now(), -Number(back.adjustedMs)]) {
      expect(moved).toBeGreaterThan(HOUR_MS - SLACK_MS);
      expect(moved).toBeLessThan(HOUR_MS + SLACK_MS);
    }
  }),
  refused("System.SetTime", ["SetTimeRequest.time"], "INVALID_TIME", "no time", (zone) =>
    zone.bridge.system.setTime({}, zone.in()),
  ),
  refused("System.SetTime", ["SetTimeRequest.time"], "INVALID_TIME", "the year 2300", (zone) =>
    setTime(zone, Date.UTC(2300, 1)),
  ),

  works("System.AddEntropy", ["AddEntropyRequest.entropy"], "takes 16 to 512 bytes", async (zone) => {
    for (const bytes of [16, 512]) await zone.bridge.system.addEntropy({ entropy: entropy(bytes) }, zone.in());
  }),
  ...[15, 513].map((bytes) =>
    refused("System.AddEntropy", ["AddEntropyRequest.entropy"], "INVALID_ENTROPY", `${bytes} bytes`, (zone) =>
      zone.bridge.system.addEntropy({ entropy: entropy(bytes) }, zone.in()),
    ),
  ),

  works(
    "System.Renew",
    [
      "RenewRequest.time",
      "RenewRequest.entropy",
      "RenewRequest.machine_id",
      "RenewRequest.hostname",
      "RenewRequest.instance_id",
    ],
    "makes the zone another, and itself again",
    async (zone) => {
      const before = await asItIs(zone);
      const other = { machineId: "0123456789abcdef0123456789abcdef", hostname: "another", instanceId: "another-1" };
      try {
        const time = toTimestamp(Date.now() + HOUR_MS);
        const { clockAdjustedMs } = await zone.bridge.system.renew({ ...before, ...other, time }, zone.in());
        expect(Number(clockAdjustedMs)).toBeGreaterThan(HOUR_MS - SLACK_MS);
        expect(await info(zone)).toMatchObject(other);
      } finally {
        await zone.bridge.system.renew({ ...before, time: toTimestamp(Date.now()) }, zone.in());
      }
      const { machineId, hostname, instanceId } = before;
      expect(await info(zone)).toMatchObject({ machineId, hostname, instanceId });
    },
  ),
  notRenewed("time", "INVALID_TIME", "no time", { time: null }),
  notRenewed("entropy", "INVALID_ENTROPY", "too little entropy", { entropy: entropy(15) }),
  notRenewed("machine_id", "INVALID_MACHINE_ID", "a machine id of letters", { machineId: "x".repeat(32) }),
  notRenewed("hostname", "INVALID_HOSTNAME", "a host name of two words", { hostname: "two words" }),
  notRenewed("instance_id", "INVALID_MACHINE_ID", "an instance without an id", { instanceId: "" }),

  works("System.Events", [], "tells of what happens, from its first message on", async (zone) => {
    const call = zone.bridge.system.events({}, zone.in());
    const kinds: string[] = [];
    await new Promise<void>((resolve, reject) => {
      call.on("error", reject);
      call.on("data", (event) => {
        const { subscribed, processStarted, processEnded } = event;
        if (subscribed) zone.bridge.process_.start({ spec: shell("exit 6") }, zone.in()).catch(reject);
        else if ((processStarted ?? processEnded)?.id !== "case") return;
        kinds.push(event.kind ?? "");
        if (!processEnded) return;
        expect(processEnded).toMatchObject({ containerId: "main", code: 6 });
        call.removeListener("error", reject).on("error", () => {}); // of the cancellation
        call.cancel();
        resolve();
      });
    });
    expect(kinds).toEqual(["subscribed", "processStarted", "processEnded"]);
    await zone.bridge.process_.delete({ id: "case" }, zone.in());
  }),

  works("System.Logs", ["LogsRequest.cursor"], "gives the records that are kept, from a cursor", async (zone) => {
    const records = async (cursor: number) => {
      const found: { cursor: number; json: string }[] = [];
      for await (const { cursor: at, json } of zone.bridge.system.logs({ cursor }, zone.in()))
        found.push({ cursor: Number(at), json: json ?? "" });
      return found;
    };
    const all = await records(0);
    expect(all.map(({ json }) => JSON.parse(json).msg)).toContain("process started");
    const middle = all[Math.floor(all.length / 2)]?.cursor ?? 0;
    expect((await records(middle)).slice(0, all.length - all.findIndex(({ cursor }) => cursor === middle))).toEqual(
      all.filter(({ cursor }) => cursor >= middle),
    );
  }),
  works("System.Logs", ["LogsRequest.follow"], "goes on with what comes, which holds no argument", async (zone) => {
    const call = zone.bridge.system.logs({ follow: true }, zone.in());
    const seen: string[] = [];
    const found = new Promise<void>((resolve, reject) => {
      call.on("error", reject);
      call.on("data", ({ json = "" }) => {
        seen.push(json);
        const { msg, process } = JSON.parse(json);
        if (msg !== "process ended" || process !== "logged") return;
        call.removeListener("error", reject).on("error", () => {}); // of the cancellation
        call.cancel();
        resolve();
      });
    });
    await new Promise((resolve) => call.once("data", resolve));
    const spec = {
      id: "logged",
      containerId: "main",
      argv: argv("/bin/sh", "-c", ": a-secret"),
      env: argv("A=a-secret"),
    };
    await zone.bridge.process_.start({ spec }, zone.in());
    await found;
    expect(seen.join("")).not.toContain("a-secret");
    await zone.bridge.process_.delete({ id: "logged" }, zone.in());
  }),
  refused("System.Logs", ["LogsRequest.cursor"], "CURSOR_TOO_OLD", "a cursor that is not of this log", (zone) =>
    firstMessage(zone.bridge.system.logs({ cursor: 1e9 }, zone.in())),
  ),

  works(
    "System.Online",
    ["OnlineRequest.cpus", "OnlineRequest.memory_bytes", "OnlineRequest.wait_ms"],
    "answers with what there is when it is enough",
    async (zone) => {
      const { memoryTotalBytes } = await info(zone);
      const wanted = { cpus: 1, memoryBytes: memoryTotalBytes, waitMs: 60_000 };
      const answer = await zone.bridge.system.online(wanted, zone.in());
      expect(answer).toMatchObject({ cpus: 1, memoryTotalBytes });
    },
  ),
  refused("System.Online", ["OnlineRequest.cpus"], "RESOURCES_NOT_THERE", "more cpus than are plugged in", (zone) =>
    zone.bridge.system.online({ cpus: 64, waitMs: 1 }, zone.in()),
  ),
  refused(
    "System.Online",
    ["OnlineRequest.memory_bytes"],
    "RESOURCES_NOT_THERE",
    "more memory than is plugged in",
    (zone) => zone.bridge.system.online({ memoryBytes: 2 ** 40, waitMs: 1 }, zone.in()),
  ),
  refused("System.Online", ["OnlineRequest.wait_ms"], "INVALID_SIZE", "a wait of more than a minute", (zone) =>
    zone.bridge.system.online({ waitMs: 60_001 }, zone.in()),
  ),

  works("System.Sync", [], "writes what is not written", async (zone) => {
    await zone.bridge.system.sync({}, zone.in());
  }),

  works(
    "System.Shutdown",
    ["ShutdownRequest.grace_ms"],
    "ends a zone as soon as its processes have ended",
    async (zone) => {
      const script = "trap 'exit 0' TERM; echo ready; while :; do sleep 0.1; done";
      const id = await zone.bridge.detached("ends", ["sh", "-c", script], ["--memory", "384m"]);
      const ends = new SurfaceZone(zone.bridge, id);
      try {
        await new Promise<void>((resolve, reject) => {
          // This call ends with the zone, and with an error then.
          attached(ends, { processId: "main" }, ({ stdout }) => stdout === "ready\n" && resolve()).catch(reject);
        });
        // Longer than the test may take: it is the SIGTERM that ends the script, and with it the zone.
        await ends.bridge.system.shutdown({ graceMs: 600_000 }, ends.in());
        const answer = await zone.bridge.zones.wait({ zone: id }, { timeoutMs: 240_000 });
        expect(answer.zone).toMatchObject({ endMessage: "it powered itself off" });
      } finally {
        await zone.bridge.zones.delete({ zone: id, force: true }, { timeoutMs: 120_000 });
      }
    },
  ),
  refused("System.Shutdown", ["ShutdownRequest.grace_ms"], "INVALID_TIME", "a grace of more than ten minutes", (zone) =>
    zone.bridge.system.shutdown({ graceMs: 600_001 }, zone.in()),
  ),
];
