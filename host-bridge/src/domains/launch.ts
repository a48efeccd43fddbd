import { open } from "node:fs/promises";
import { ZoneError } from "@zone/proto";
import { bridgeError, errorMessage } from "../errors.js";
import { checkRunning } from "./companions.js";
import { EndWitness } from "./domain-end.js";
import type { DomainState } from "./domain-state.js";
import { hostTool } from "./host-tools.js";
import { InheritedFiles } from "./inherited-files.js";
import { type LaunchSpec, type MachineConfig, machineConfig } from "./machine-config.js";
import { copyMemory } from "./memory-copy.js";
import { MIGRATION_CAPABILITIES, migrationIsOver } from "./migration.js";
import { hotplugFailed } from "./plugged-disks.js";
import { qemuArgs, shareChardev, socketPaths } from "./qemu-args.js";
import { diskDeviceAdd, diskNode } from "./qemu-disk.js";
import { QemuDomain } from "./qemu-domain.js";
import { spawnVmm, type VmmProcess } from "./qemu-process.js";
import { connectWhenThere, QmpClient } from "./qmp.js";
import { type LaunchHost, Surroundings } from "./surroundings.js";
import { lastWordsOf, vmmLogPath } from "./vmm-log.js";

/** How long QEMU may take to open its monitor and to load a template's state: milliseconds on an idle machine. */
const START_MS = 60_000;

export interface LaunchOptions {
  signal: AbortSignal;
  /** Of what a domain has to do without. */
  tell?: (message: string) => void;
}

/**
 * Starts a VMM with a stopped guest. Everything that it opens is handed to it as a descriptor, so that its user needs no right on
 * any file; before a guest with a workload first runs, its folder is taken from it. Leaves nothing when it fails or is cancelled.
 */
export async function launch(host: LaunchHost, spec: LaunchSpec, options: LaunchOptions): Promise<QemuDomain> {
  const { signal, tell = () => {} } = options;
  signal.throwIfAborted();
  const around = await Surroundings.make(host, spec, tell);
  const { directory, identity } = around;
  const files = new InheritedFiles();
  let vmm: VmmProcess | undefined;
  const kill = () => void vmm?.kill();
  try {
    const config = await machineConfig(spec, around, files);
    const env = await preloads(config, files);
    vmm = await spawnIn(directory, { binary: host.binary, args: qemuArgs(config), files: files.fds, identity, env });
    around.closeNetworkFd();
    signal.addEventListener("abort", kill, { once: true });
    const domain = await connectDomain(host, { vmm, spec, around, config }, signal);
    if (spec.start.kind === "clone") {
      if (config.memory.kind === "shared") await copyMemory(spec.start.memoryFd, vmm.pid, signal);
      await loadState(domain.monitor, config.stateFd);
    }
    await plugDevices(domain.monitor, spec, config);
    await checkRunning(around.companions, directory);
    if (spec.start.kind !== "template") {
      await around.takeFolder();
      await domain.keepState();
    }
    signal.throwIfAborted();
    return domain;
  } catch (error) {
    await vmm?.kill();
    await vmm?.exited();
    const vmmLog = await lastWordsOf(directory);
    await around.remove();
    signal.throwIfAborted();
    throw startFailed(error, vmmLog);
  } finally {
    signal.removeEventListener("abort", kill);
    await files.close();
  }
}

/** What the VMM's dynamic linker loads before QEMU: see ram-discard.c. Only clones have a sealed file. */
async function preloads({ memory }: MachineConfig, files: InheritedFiles): Promise<Record<string, string>> {
  const library = hostTool("zone-ram-discard.so");
  if (memory.kind !== "clone" || !library) return {};
  return { LD_PRELOAD: `/proc/self/fd/${await files.add(library)}` };
}

async function spawnIn(
  directory: string,
  options: Pick<Parameters<typeof spawnVmm>[0], "binary" | "args" | "files" | "identity" | "env">,
): Promise<VmmProcess> {
  const log = await open(vmmLogPath(directory), "wx", 0o600);
  try {
    return await spawnVmm({ ...options, directory, logFd: log.fd });
  } finally {
    await log.close();
  }
}

interface Started {
  vmm: VmmProcess;
  spec: LaunchSpec;
  around: Surroundings;
  config: MachineConfig;
}

async function connectDomain(host: LaunchHost, started: Started, signal: AbortSignal): Promise<QemuDomain> {
  const { vmm, spec, around } = started;
  const { directory, identity } = around;
  const died = new AbortController();
  vmm
    .exited()
    .then(() => died.abort(bridgeError("UNAVAILABLE", "VMM_DIED", "QEMU ended before it opened its monitor")));
  const either = AbortSignal.any([signal, died.signal]);
  const paths = socketPaths(directory);
  const socket = await connectWhenThere(paths.qmp, START_MS, either);
  const qmp = await QmpClient.open(socket, { timeoutMs: START_MS });
  const console = await connectWhenThere(paths.console, START_MS, either);
  const record = {
    driver: "qemu",
    pid: vmm.pid,
    pidStartTime: vmm.startTime,
    accelerator: spec.shape.accelerator,
    directory,
    link: `serial:${paths.link}`,
    uid: identity?.uid ?? process.getuid?.() ?? 0,
  };
  const state = firstState(started);
  return new QemuDomain({
    record,
    cloned: spec.start.kind === "clone",
    vmm,
    qmp,
    witness: new EndWitness(),
    console,
    around,
    claims: host.claims,
    state,
  });
}

function firstState({ spec, around, config }: Started): DomainState {
  const sets = new Map([...config.disks, ...config.laterDisks].map(({ serial, fd }) => [serial, fd ?? 0]));
  const { memoryBytes, vcpus } = spec.shape;
  return {
    version: 1,
    memoryBytes,
    maxMemoryBytes: spec.maxMemoryBytes ?? memoryBytes,
    maxVcpus: spec.maxVcpus ?? vcpus,
    sharedMemory: config.memory.kind === "shared",
    disks: around.claimed.splice(0).map((disk) => ({ ...disk, set: sets.get(disk.serial) ?? 0 })),
    network: around.facts,
    shares: (spec.shares ?? []).map(({ tag, readOnly }) => ({ tag, type: "virtiofs", readOnly })),
    companions: around.companions.map(({ record }) => record),
  };
}

/** Loads a template's device state; its memory is mapped already (migration capability x-ignore-shared). TEMPLATE_UNUSABLE. */
async function loadState(qmp: QmpClient, stateFd: number | undefined): Promise<void> {
  try {
    await qmp.execute("migrate-set-capabilities", { capabilities: MIGRATION_CAPABILITIES });
    const loaded = qmp.event("the loading of a template", migrationIsOver, START_MS);
    const [{ data }] = await Promise.all([loaded, qmp.execute("migrate-incoming", { uri: `fd:${stateFd}` })]);
    if (data.status !== "completed") throw new Error(`the migration ${data.status}`);
  } catch (error) {
    const message = `QEMU cannot load the template: ${errorMessage(error)}`;
    throw bridgeError("INTERNAL", "TEMPLATE_UNUSABLE", message, undefined, error);
  }
}

/** What a template does not have: further disks, and shares. HOTPLUG_FAILED. */
async function plugDevices(
  qmp: QmpClient,
  spec: LaunchSpec,
  { laterDisks, shareSockets }: MachineConfig,
): Promise<void> {
  for (const { serial, fd, readOnly } of laterDisks) {
    if (fd === undefined) continue;
    try {
      await qmp.execute("blockdev-add", diskNode(serial, fd, readOnly));
      await qmp.execute("device_add", diskDeviceAdd(serial));
    } catch (error) {
      throw hotplugFailed(`disk ${serial} cannot be attached`, error);
    }
  }
  for (const [index] of shareSockets.entries()) {
    const { tag = "", path = "" } = spec.shares?.[index] ?? {};
    const device = { driver: "vhost-user-fs-pci", id: `share-${index}`, chardev: shareChardev(index), tag };
    try {
      await qmp.execute("device_add", device);
    } catch (error) {
      throw hotplugFailed(`${path} cannot be shared`, error);
    }
  }
}

/** What QEMU itself printed says more than that it is gone. */
function startFailed(error: unknown, vmmLog: string): unknown {
  const gone = error instanceof ZoneError && /^(QMP_|VMM_DIED)/.test(error.reason);
  if (!gone || vmmLog === "") return error;
  return bridgeError("FAILED_PRECONDITION", "BOOT_FAILED", `QEMU did not start: ${vmmLog}`, undefined, error);
}
