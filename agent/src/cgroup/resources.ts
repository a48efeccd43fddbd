import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { zone } from "@zone/proto";
import { agentError, describe, errnoOf, invalid } from "../errors.js";
import { parseNested, parseNumber, readControl } from "./control-file.js";
import { CGROUP_LIMITS } from "./limits.js";
import { hugepageSizes } from "./stats.js";

type Resources = zone.agent.v1.Resources.$Properties;

/** A setting: the file of a cgroup, and what is written to it. */
export interface Setting {
  file: string;
  value: string;
}

/** cpu.max counts in microseconds of each period; the kernel takes no quota below a millisecond. */
const CPU_PERIOD_US = { min: 1000, default: 100_000, max: 1_000_000 };
const CPU_QUOTA_MIN_US = 1000;
const WEIGHT = { min: 1, default: 100, max: 10_000 };
/** cpuset(7), "List format". */
const CPU_LIST = /^(\d+(-\d+(:\d+\/\d+)?)?(,\d+(-\d+(:\d+\/\d+)?)?)*)?$/;
const DEVICE_NUMBER = /^\d{1,4}:\d{1,7}$/;
/** What /sys/fs/cgroup and /sys/block have of devices that are named by their serials. */
export type DeviceNumber = (serial: string) => string | undefined;

/**
 * The settings that `resources` asks for, in the order in which they are to be written. `deviceNumber` finds a disk by its
 * serial. Throws INVALID_LIMIT.
 */
export function settingsOf(resources: Resources, deviceNumber: DeviceNumber): Setting[] {
  const settings: Setting[] = [];
  const set = (file: string, value: string | undefined) => {
    if (value !== undefined) settings.push({ file, value });
  };
  set("cpu.max", cpuMax(resources));
  set("cpu.weight", weight("cpu_weight", resources.cpuWeight));
  set("cpuset.cpus", cpuList("cpuset_cpus", resources.cpusetCpus));
  set("cpuset.mems", cpuList("cpuset_mems", resources.cpusetMems));
  // Protections before limits, and the soft limit before the hard one: a lower memory.max may have to reclaim at once.
  set("memory.min", amount("memory_min_bytes", resources.memoryMinBytes));
  set("memory.low", amount("memory_low_bytes", resources.memoryLowBytes));
  set("memory.high", ceiling("memory_high_bytes", resources.memoryHighBytes));
  set("memory.swap.max", swapMax(resources));
  set("memory.max", ceiling("memory_bytes", resources.memoryBytes));
  const { oomGroup } = resources;
  set("memory.oom.group", typeof oomGroup === "boolean" ? String(Number(oomGroup)) : undefined);
  set("pids.max", ceiling("pids", resources.pids));
  for (const limit of ioLimits(resources.io ?? [])) set("io.max", ioMax(limit, deviceNumber));
  set("io.weight", weight("io_weight", resources.ioWeight));
  for (const { pageSize, bytes } of resources.hugepages ?? []) {
    if (!/^\d{1,4}[KMG]B$/.test(pageSize ?? "")) throw invalid("INVALID_LIMIT", `"${pageSize}" is no page size: "2MB"`);
    set(`hugetlb.${pageSize}.max`, ceiling("hugepages", bytes));
  }
  return settings;
}

/**
 * Writes the settings to the cgroup `folder`. When one is refused those before it are set back, and the error says which:
 * CONTROLLER_MISSING, INVALID_LIMIT (the kernel refuses the value) or CGROUP_FAILED.
 */
export function applySettings(folder: string, settings: readonly Setting[]): void {
  const undo: Setting[] = [];
  for (const { file, value } of settings.map((setting) => presentName(folder, setting))) {
    const before = readControl(folder, file);
    try {
      writeFileSync(join(folder, file), value, { flag: "r+" });
    } catch (error) {
      for (const setting of undo.reverse()) writeFileSync(join(folder, setting.file), setting.value, { flag: "r+" });
      throw refused(file, value, error);
    }
    for (const former of formerValues(file, value, before)) undo.push({ file, value: former });
  }
}

/** A kernel with bfq alone has io.weight under another name. */
function presentName(folder: string, setting: Setting): Setting {
  if (setting.file !== "io.weight" || readControl(folder, "io.weight") !== undefined) return setting;
  return readControl(folder, "io.bfq.weight") === undefined ? setting : { ...setting, file: "io.bfq.weight" };
}

function refused(file: string, value: string, error: unknown): Error {
  const errno = errnoOf(error) ?? "";
  if (errno === "ENOENT") {
    const message = `${file} cannot be set: this kernel, or the cgroup's parent, has no such controller`;
    return agentError("FAILED_PRECONDITION", "CONTROLLER_MISSING", message, { metadata: { file, errno } });
  }
  if (["EINVAL", "ERANGE", "ENODEV", "EOPNOTSUPP"].includes(errno)) {
    return agentError("INVALID_ARGUMENT", "INVALID_LIMIT", `the kernel refuses "${value}" for ${file} (${errno})`, {
      metadata: { file, errno },
    });
  }
  return agentError("INTERNAL", "CGROUP_FAILED", `"${value}" cannot be written to ${file}: ${describe(error)}`, {
    metadata: { file, errno },
    cause: error,
  });
}

/** What sets a file back to what it was. io.max has a line per device, and shows those without a limit not at all. */
function formerValues(file: string, value: string, before: string | undefined): string[] {
  if (before === undefined) return [];
  if (file !== "io.max")
    return [file === "io.weight" ? before.replace(/^default (\d+)[\s\S]*$/, "default $1") : before];
  const [device = ""] = value.split(" ");
  const line = before.split("\n").find((each) => each.startsWith(`${device} `));
  return [line ?? `${device} rbps=max wbps=max riops=max wiops=max`];
}

/** The cgroup's settings as they are, as Resources has them. `serials` names devices. */
export function readResources(folder: string, serials: ReadonlyMap<string, string>): Resources {
  const number = (file: string) => {
    const text = readControl(folder, file);
    return text === "max" ? 0 : parseNumber(text);
  };
  const [quota, period] = (readControl(folder, "cpu.max") ?? "").split(" ");
  const swap = readControl(folder, "memory.swap.max");
  const ioWeight = /(?:default )?(\d+)/.exec(readControl(folder, presentName(folder, IO_WEIGHT).file) ?? "")?.[1];
  const oomGroup = number("memory.oom.group");
  return {
    cpuMillis: period && (quota === "max" ? 0 : Math.round((Number(quota) * 1000) / Number(period))),
    cpuPeriodUs: period === undefined ? undefined : Number(period),
    cpuWeight: number("cpu.weight"),
    cpusetCpus: readControl(folder, "cpuset.cpus"),
    cpusetMems: readControl(folder, "cpuset.mems"),
    memoryBytes: number("memory.max"),
    memoryHighBytes: number("memory.high"),
    memoryLowBytes: number("memory.low"),
    memoryMinBytes: number("memory.min"),
    memorySwapBytes: parseNumber(swap),
    memorySwapUnlimited: swap === "max",
    pids: number("pids.max"),
    io: [...parseNested(readControl(folder, "io.max"))].map(([device, limits]) => ({
      device: serials.get(device) ?? device,
      readBytesPerSecond: parseNumber(limits.get("rbps")),
      writeBytesPerSecond: parseNumber(limits.get("wbps")),
      readOperationsPerSecond: parseNumber(limits.get("riops")),
      writeOperationsPerSecond: parseNumber(limits.get("wiops")),
    })),
    ioWeight: parseNumber(ioWeight),
    hugepages: hugepageSizes(folder)
      .map((pageSize) => ({ pageSize, bytes: number(`hugetlb.${pageSize}.max`) }))
      .filter(({ bytes }) => bytes),
    oomGroup: oomGroup === undefined ? undefined : oomGroup === 1,
  } as Resources;
}

const IO_WEIGHT: Setting = { file: "io.weight", value: "" };

function cpuMax({ cpuMillis, cpuPeriodUs }: Resources): string | undefined {
  if (cpuMillis === undefined || cpuMillis === null) {
    if (cpuPeriodUs) throw invalid("INVALID_LIMIT", "cpu_period_us means nothing without cpu_millis");
    return undefined;
  }
  const period = cpuPeriodUs || CPU_PERIOD_US.default;
  if (period < CPU_PERIOD_US.min || period > CPU_PERIOD_US.max) {
    const { min, max } = CPU_PERIOD_US;
    throw invalid("INVALID_LIMIT", `cpu_period_us is ${period}; it must be ${min} to ${max}`);
  }
  if (cpuMillis === 0) return `max ${period}`;
  return `${Math.max(Math.round((cpuMillis * period) / 1000), CPU_QUOTA_MIN_US)} ${period}`;
}

function swapMax({ memorySwapBytes, memorySwapUnlimited }: Resources): string | undefined {
  const bytes = amount("memory_swap_bytes", memorySwapBytes);
  if (!memorySwapUnlimited) return bytes;
  if (bytes !== undefined)
    throw invalid("INVALID_LIMIT", "memory_swap_bytes and memory_swap_unlimited exclude each other");
  return "max";
}

/** undefined when absent. */
function amount(name: string, value: number | null | undefined): string | undefined {
  if (value === undefined || value === null) return undefined;
  if (Number.isSafeInteger(value)) return String(value);
  throw invalid("INVALID_LIMIT", `${name} is ${value}, which is larger than can be counted`);
}

/** The same, where 0 is no limit. */
function ceiling(name: string, value: number | null | undefined): string | undefined {
  const text = amount(name, value);
  return text === "0" ? "max" : text;
}

function weight(name: string, value: number | null | undefined): string | undefined {
  if (value === undefined || value === null) return undefined;
  const wanted = value || WEIGHT.default;
  if (wanted >= WEIGHT.min && wanted <= WEIGHT.max) return String(wanted);
  throw invalid("INVALID_LIMIT", `${name} is ${value}; it must be ${WEIGHT.min} to ${WEIGHT.max}`);
}

/** An empty list is written as a line end: a write of nothing is none. */
function cpuList(name: string, list: string | null | undefined): string | undefined {
  if (list === undefined || list === null) return undefined;
  if (list.length < 1024 && CPU_LIST.test(list)) return `${list}\n`;
  throw invalid("INVALID_LIMIT", `${name} is "${list.slice(0, 80)}", which is no list like "0-2,4"`);
}

function ioLimits(limits: readonly zone.agent.v1.IoLimit.$Properties[]): readonly zone.agent.v1.IoLimit.$Properties[] {
  if (limits.length <= CGROUP_LIMITS.ioDevices) return limits;
  throw invalid("INVALID_LIMIT", `${limits.length} devices have limits; at most ${CGROUP_LIMITS.ioDevices} may`);
}

function ioMax(limit: zone.agent.v1.IoLimit.$Properties, deviceNumber: DeviceNumber): string {
  const device = limit.device ?? "";
  const number = DEVICE_NUMBER.test(device) ? device : deviceNumber(device);
  if (number === undefined) {
    throw invalid("INVALID_LIMIT", `there is no disk "${device.slice(0, 40)}": give its serial, or MAJOR:MINOR`);
  }
  const rate = (name: string, value: number | null | undefined) => ceiling(name, value ?? 0);
  return [
    number,
    `rbps=${rate("read_bytes_per_second", limit.readBytesPerSecond)}`,
    `wbps=${rate("write_bytes_per_second", limit.writeBytesPerSecond)}`,
    `riops=${rate("read_operations_per_second", limit.readOperationsPerSecond)}`,
    `wiops=${rate("write_operations_per_second", limit.writeOperationsPerSecond)}`,
  ].join(" ");
}
