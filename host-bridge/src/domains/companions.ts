import { open } from "node:fs/promises";
import { bridgeError } from "../errors.js";
import { lastLines } from "./console-log.js";
import { adoptVmm, type SpawnOptions, spawnVmm, type VmmExit, type VmmProcess } from "./qemu-process.js";
import { tailOf } from "./tail.js";
import { within } from "./within.js";

/** A process that serves one VMM, kept so that a later bridge finds it. */
export interface CompanionRecord {
  /** For people: "passt". */
  name: string;
  pid: number;
  startTime: string;
  /** Of its own, or the bridge's. */
  uid: number;
}

export interface Companion {
  readonly record: CompanionRecord;
  readonly process: VmmProcess;
}

/** Starts one; what it prints goes to DIRECTORY/NAME.log, which `quit` reads. */
export async function startCompanion(name: string, options: Omit<SpawnOptions, "logFd">): Promise<Companion> {
  const log = await open(logPath(options.directory, name), "w", 0o600);
  try {
    const process_ = await spawnVmm({ ...options, logFd: log.fd });
    const uid = options.identity?.uid ?? process.getuid?.() ?? 0;
    return { record: { name, pid: process_.pid, startTime: process_.startTime, uid }, process: process_ };
  } finally {
    await log.close();
  }
}

/** Those of an earlier bridge that still run. */
export async function adoptCompanions(records: readonly CompanionRecord[]): Promise<Companion[]> {
  const found = await Promise.all(
    records.map(async (record) => ({ record, process: await adoptVmm(record.pid, record.startTime) })),
  );
  return found.flatMap(({ record, process }) => (process ? [{ record, process }] : []));
}

/** INTERNAL/COMPANION_FAILED when one has ended already: what is wrong with arguments or host, they say so within milliseconds. */
export async function checkRunning(companions: readonly Companion[], directory: string): Promise<void> {
  const reasons: string[] = [];
  for (const companion of companions) {
    if (await within(companion.process.exited(), 0))
      reasons.push(await whyEnded(companion, directory, await companion.process.exited()));
  }
  if (reasons.length > 0)
    throw bridgeError("INTERNAL", "COMPANION_FAILED", `a zone cannot be made: ${reasons.join("; ")}`);
}

/** Ends them and waits until they are gone. */
export async function endCompanions(companions: readonly Companion[]): Promise<void> {
  await Promise.all(companions.map(({ process }) => process.kill()));
  await Promise.all(companions.map(({ process }) => process.exited()));
}

/** Why one has ended, for people: its exit and the last that it printed. */
export async function whyEnded({ record }: Companion, directory: string, exit: VmmExit): Promise<string> {
  const said = lastLines(await tailOf(logPath(directory, record.name), 1024), 2);
  const how = exit?.signal ? ` by ${exit.signal}` : exit ? ` with status ${exit.code}` : "";
  return `${record.name} ended${how}${said && `: ${said}`}`;
}

function logPath(directory: string, name: string): string {
  return `${directory}/${name}.log`;
}
