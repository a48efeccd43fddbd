import { readdirSync } from "node:fs";
import { toTimestamp, type zone } from "@zone/proto";
import { parseNested, readControl, readFlat, readNumber } from "./control-file.js";

type Stats = zone.agent.v1.CgroupStats.$Properties;
type Pressure = zone.agent.v1.Pressure.$Properties;

/** What a cgroup (its folder in cgroupfs) uses and has met, as CgroupStats has it. `serials` names block devices: "254:0" to "w0". */
export function readStats(folder: string, path: string, serials: ReadonlyMap<string, string>, nowMs: number): Stats {
  return {
    path,
    time: toTimestamp(nowMs),
    cpu: cpuStats(folder),
    memory: memoryStats(folder),
    io: ioStats(folder, serials),
    pids: {
      current: readNumber(folder, "pids.current"),
      limit: readNumber(folder, "pids.max"),
      maxEvents: readFlat(folder, "pids.events").get("max"),
    },
    hugepages: hugepageStats(folder),
  };
}

function cpuStats(folder: string): zone.agent.v1.CpuStats.$Properties {
  const stat = readFlat(folder, "cpu.stat");
  return {
    usageUs: stat.get("usage_usec"),
    userUs: stat.get("user_usec"),
    systemUs: stat.get("system_usec"),
    periods: stat.get("nr_periods"),
    throttledPeriods: stat.get("nr_throttled"),
    throttledUs: stat.get("throttled_usec"),
    pressure: readPressure(folder, "cpu.pressure"),
  };
}

function memoryStats(folder: string): zone.agent.v1.MemoryStats.$Properties {
  const stat = readFlat(folder, "memory.stat");
  const events = readFlat(folder, "memory.events");
  return {
    currentBytes: readNumber(folder, "memory.current"),
    peakBytes: readNumber(folder, "memory.peak"),
    limitBytes: readNumber(folder, "memory.max"),
    swapBytes: readNumber(folder, "memory.swap.current"),
    anonymousBytes: stat.get("anon"),
    fileBytes: stat.get("file"),
    sharedBytes: stat.get("shmem"),
    kernelBytes: stat.get("kernel"),
    inactiveFileBytes: stat.get("inactive_file"),
    pageFaults: stat.get("pgfault"),
    majorPageFaults: stat.get("pgmajfault"),
    lowEvents: events.get("low"),
    highEvents: events.get("high"),
    maxEvents: events.get("max"),
    oomEvents: events.get("oom"),
    oomKills: events.get("oom_kill"),
    pressure: readPressure(folder, "memory.pressure"),
  };
}

function ioStats(folder: string, serials: ReadonlyMap<string, string>): zone.agent.v1.IoStats.$Properties[] {
  const devices = [...parseNested(readControl(folder, "io.stat"))];
  // A device that was touched once stays in the list, without numbers.
  return devices
    .filter(([, values]) => values.size > 0)
    .map(([device, values]) => ({
      device,
      serial: serials.get(device),
      readBytes: Number(values.get("rbytes") ?? 0),
      writeBytes: Number(values.get("wbytes") ?? 0),
      readOperations: Number(values.get("rios") ?? 0),
      writeOperations: Number(values.get("wios") ?? 0),
    }));
}

function hugepageStats(folder: string): zone.agent.v1.HugepageStats.$Properties[] {
  return hugepageSizes(folder).map((pageSize) => ({
    pageSize,
    currentBytes: readNumber(folder, `hugetlb.${pageSize}.current`),
    limitBytes: readNumber(folder, `hugetlb.${pageSize}.max`),
  }));
}

/** The page sizes that this cgroup can limit, as the names of its files have them: "2MB". */
export function hugepageSizes(folder: string): string[] {
  return readdirSync(folder).flatMap((file) => /^hugetlb\.(\w+)\.max$/.exec(file)?.[1] ?? []);
}

/** A *.pressure file, Documentation/accounting/psi.rst: averages in hundredths of a per cent. Undefined without PSI. */
export function readPressure(folder: string, file: string): Pressure | undefined {
  return parsePressure(readControl(folder, file));
}

export function parsePressure(text: string | undefined): Pressure | undefined {
  if (text === undefined) return undefined;
  const lines = parseNested(text);
  const hundredths = (kind: string, key: string) => Math.round(Number(lines.get(kind)?.get(key) ?? 0) * 100);
  const total = (kind: string) => Number(lines.get(kind)?.get("total") ?? 0);
  return {
    someAvg10: hundredths("some", "avg10"),
    someAvg60: hundredths("some", "avg60"),
    someAvg300: hundredths("some", "avg300"),
    someTotalUs: total("some"),
    fullAvg10: hundredths("full", "avg10"),
    fullAvg60: hundredths("full", "avg60"),
    fullAvg300: hundredths("full", "avg300"),
    fullTotalUs: total("full"),
  };
}
