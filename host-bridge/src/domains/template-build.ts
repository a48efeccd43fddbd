import { type FileHandle, open, statfs, unlink } from "node:fs/promises";
import { join } from "node:path";
import { bridgeError, errorMessage } from "../errors.js";
import { lastLines } from "./console-log.js";
import type { DomainEnd, ProgressFn, WarmUp } from "./driver.js";
import type { LaunchSpec } from "./machine-config.js";
import { MIGRATION_CAPABILITIES, migrationIsOver } from "./migration.js";
import type { QemuDomain } from "./qemu-domain.js";
import { copySparse } from "./sparse-copy.js";
import { StateReceiver } from "./state-receiver.js";
import { within } from "./within.js";

/** Below it Node does not come up. */
export const MINIMUM_MEMORY_BYTES = 96 << 20;
const MAX_STATE_BYTES = 64 << 20;
const SAVE_MS = 60_000;
/** From the end of a guest's link to that of its VMM, at most. */
const END_MS = 3_000;
/** In the domain's folder, which is the VMM's working directory. */
const STATE_SOCKET = "state.sock";
/** What else a template writes, and what a disk should not be filled beyond. */
const SPARE_DISK_BYTES = 64 << 20;
const OUT_OF_MEMORY = /out of memory|deadlocked on memory|invoked oom-killer|cannot allocate memory|not enough memory/i;

export interface BuildOptions {
  /** `start` and `disks` are set here. */
  spec: Omit<LaunchSpec, "start" | "disks">;
  /** Gets the file "memory"; on the disk that is checked for space. */
  directory: string;
  launch: (spec: LaunchSpec, signal: AbortSignal) => Promise<QemuDomain>;
  warmUp: WarmUp;
  /** Until the agent is ready to be cloned. */
  bootTimeoutMs: number;
}

/**
 * Boots a zone until its agent is ready, saves its memory as DIRECTORY/memory and answers with its device state. Leaves no
 * process behind. FAILED_PRECONDITION/MEMORY_TOO_SMALL, /BOOT_FAILED; RESOURCE_EXHAUSTED/DISK_FULL.
 */
export async function buildTemplate(options: BuildOptions, progress: ProgressFn, signal: AbortSignal): Promise<Buffer> {
  const { spec, directory } = options;
  const { memoryBytes } = spec.shape;
  await checkSpace(directory, memoryBytes);
  const raw = await unlinkedFile(join(directory, "raw"), memoryBytes);
  let domain: QemuDomain | undefined;
  try {
    domain = await options.launch({ ...spec, disks: [], start: { kind: "template", memoryFd: raw.fd } }, signal);
    progress("template", `booting a zone of ${memoryBytes >> 20} MiB to clone from`);
    await domain.resume();
    await bootedAgent(domain, options, signal);
    progress("template", "saving it");
    await domain.pause();
    const state = await saveState(domain);
    await domain.destroy();
    await keepMemory(raw, join(directory, "memory"), signal);
    return state;
  } catch (error) {
    signal.throwIfAborted();
    throw isFull(error) ? diskFull(directory, error) : error;
  } finally {
    await domain?.destroy();
    await raw.close();
  }
}

/** FAILED_PRECONDITION/MEMORY_TOO_SMALL for less than any zone boots with. */
export function checkMemory(memoryBytes: number): void {
  if (memoryBytes < MINIMUM_MEMORY_BYTES) throw tooSmall(memoryBytes, `a zone needs ${MINIMUM_MEMORY_BYTES >> 20} MiB`);
}

/** Settles when the agent is ready; rejects when the guest ends first or takes too long, saying what its console said. */
async function bootedAgent(domain: QemuDomain, options: BuildOptions, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  const timeout = AbortSignal.timeout(options.bootTimeoutMs);
  const over = new AbortController();
  const stop = AbortSignal.any([signal, timeout, over.signal]);
  const stopped = new Promise<never>((_resolve, reject) => {
    stop.addEventListener("abort", () => reject(stop.reason), { once: true });
  });
  stopped.catch(() => {});
  const ended = domain.ended.then(() => Promise.reject(new Error("it ended")));
  try {
    await Promise.race([options.warmUp(domain.record.link, stop), ended, stopped]);
  } catch (error) {
    signal.throwIfAborted();
    throw bootFailed(options, await whyNotReady(domain, error, timeout, options), await domain.console(), error);
  } finally {
    over.abort(); // a warm-up that lost the race must not go on
    ended.catch(() => {});
  }
}

/** A guest that dies is seen by its broken link first, but what it died of says more. */
async function whyNotReady(
  domain: QemuDomain,
  error: unknown,
  timeout: AbortSignal,
  { bootTimeoutMs }: BuildOptions,
): Promise<string> {
  if (timeout.aborted) return `its agent was not ready after ${bootTimeoutMs / 1000} s`;
  return (await within(domain.ended, END_MS)) ? endText(await domain.ended) : errorMessage(error);
}

async function saveState(domain: QemuDomain): Promise<Buffer> {
  const { monitor: qmp, record } = domain;
  const { directory, uid } = record;
  const receiver = await StateReceiver.listen(
    `${directory}/${STATE_SOCKET}`,
    MAX_STATE_BYTES,
    process.getuid?.() === 0 ? uid : undefined,
  );
  try {
    await qmp.execute("migrate-set-capabilities", { capabilities: MIGRATION_CAPABILITIES });
    const over = qmp.event("the saving of a template", migrationIsOver, SAVE_MS);
    const [event] = await Promise.all([over, qmp.execute("migrate", { uri: `unix:${STATE_SOCKET}` })]);
    if (event.data.status !== "completed")
      throw bridgeError("INTERNAL", "TEMPLATE_FAILED", "QEMU cannot save the template");
    return await receiver.received;
  } finally {
    receiver.close();
  }
}

async function keepMemory(raw: FileHandle, path: string, signal: AbortSignal): Promise<void> {
  const kept = await open(path, "wx", 0o600);
  try {
    await copySparse(raw, kept, signal);
    await kept.sync();
  } finally {
    await kept.close();
  }
}

/** A file without a name: gone with its last descriptor, whatever happens. */
async function unlinkedFile(path: string, size: number): Promise<FileHandle> {
  const file = await open(path, "wx+", 0o600);
  try {
    await unlink(path);
    await file.chmod(0o666); // the VMM's user opens it anew, through the descriptor alone
    await file.truncate(size);
    return file;
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** The guest's memory is mapped from a file: on a full disk it would die of SIGBUS, so ask first. */
async function checkSpace(directory: string, memoryBytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(directory);
  // Raw and kept memory exist at the same time.
  const needed = 2 * memoryBytes + SPARE_DISK_BYTES;
  if (bavail * bsize < needed)
    throw diskFull(directory, undefined, `${needed >> 20} MiB are needed, ${(bavail * bsize) >> 20} are free`);
}

function isFull(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === "ENOSPC" || code === "EDQUOT";
}

function endText(end: DomainEnd): string {
  return "message" in end ? end.message : `it ${end.cause === "powered-off" ? "powered off" : "was destroyed"}`;
}

function bootFailed({ spec }: BuildOptions, why: string, console: Buffer, cause: unknown): Error {
  if (OUT_OF_MEMORY.test(console.toString("latin1")))
    return tooSmall(spec.shape.memoryBytes, `its kernel says: ${lastLines(console, 3)}`);
  const lines = lastLines(console);
  const said = lines === "" || why.includes(lines) ? "" : `; console: ${lines}`;
  return bridgeError("FAILED_PRECONDITION", "BOOT_FAILED", `a zone did not boot: ${why}${said}`, undefined, cause);
}

function tooSmall(memoryBytes: number, why: string): Error {
  return bridgeError(
    "FAILED_PRECONDITION",
    "MEMORY_TOO_SMALL",
    `${memoryBytes >> 20} MiB are too little memory to boot: ${why}`,
  );
}

function diskFull(directory: string, cause: unknown, detail?: string): Error {
  const what = detail ?? errorMessage(cause);
  return bridgeError(
    "RESOURCE_EXHAUSTED",
    "DISK_FULL",
    `no space for a template in ${directory}: ${what}`,
    undefined,
    cause,
  );
}
