import { chown, mkdir, open, rm } from "node:fs/promises";
import { ZoneError } from "@zone/proto";
import { bridgeError, errorMessage } from "../errors.js";
import { KVM_DEVICE, kvmGroup } from "./accelerator.js";
import { lastLines } from "./console-log.js";
import { EndWitness } from "./domain-end.js";
import type { Identities } from "./identities.js";
import { InheritedFiles } from "./inherited-files.js";
import { type LaunchSpec, machineConfig } from "./machine-config.js";
import { MIGRATION_CAPABILITIES, migrationIsOver } from "./migration.js";
import { type Accelerator, hotplugCommands, qemuArgs, socketPaths } from "./qemu-args.js";
import { QemuDomain, tailOf, vmmLogPath } from "./qemu-domain.js";
import { type Identity, spawnVmm, type VmmProcess } from "./qemu-process.js";
import { connectWhenThere, QmpClient } from "./qmp.js";

/** How long QEMU may take to open its monitor and to load a template's state: milliseconds on an idle machine. */
const START_MS = 60_000;

/** What launching needs of the host. */
export interface LaunchHost {
  binary: string;
  /** Folders of domains are made here. */
  domainsDirectory: string;
  /** Undefined when the bridge is not root: VMMs run as its own user. */
  identities: Identities | undefined;
}

/**
 * Starts a VMM with a stopped guest. Everything that it opens is handed to it as a descriptor, so that its user needs no right on
 * any file; before a guest with a workload first runs, its folder is taken from it, so that it cannot put another socket in the
 * place of its own. Leaves nothing when it fails or is cancelled.
 */
export async function launch(host: LaunchHost, spec: LaunchSpec, signal: AbortSignal): Promise<QemuDomain> {
  signal.throwIfAborted();
  const directory = `${host.domainsDirectory}/${spec.id}`;
  checkSocketPaths(directory);
  const files = new InheritedFiles();
  const identity = await vmmIdentity(host, spec.shape.accelerator);
  let vmm: VmmProcess | undefined;
  const kill = () => void vmm?.kill();
  try {
    const config = await machineConfig(spec, files);
    await mkdir(directory, { mode: 0o700, recursive: false });
    if (identity) await chown(directory, identity.uid, identity.gid);
    vmm = await spawnIn(directory, { binary: host.binary, args: qemuArgs(config), files: files.fds, identity });
    signal.addEventListener("abort", kill, { once: true });
    const domain = await connectDomain(vmm, spec, directory, identity, signal);
    if (spec.start.kind === "clone") await loadState(domain.monitor, config.stateFd);
    for (const [command, args] of config.laterDisks.flatMap(hotplugCommands))
      await domain.monitor.execute(command, args);
    if (identity && spec.start.kind !== "template") await chown(directory, 0, 0);
    signal.throwIfAborted();
    if (identity) domain.ended.then(() => host.identities?.release(identity.uid));
    return domain;
  } catch (error) {
    await vmm?.kill();
    await vmm?.exited();
    const vmmLog = lastLines(await tailOf(vmmLogPath(directory), 2048), 2);
    await rm(directory, { recursive: true, force: true });
    if (identity) host.identities?.release(identity.uid);
    signal.throwIfAborted();
    throw startFailed(error, vmmLog);
  } finally {
    signal.removeEventListener("abort", kill);
    await files.close();
  }
}

/** sun_path holds 108 bytes with the NUL (unix(7)). */
function checkSocketPaths(directory: string): void {
  const longest = Math.max(...Object.values(socketPaths(directory)).map((path) => Buffer.byteLength(path)));
  if (longest < 108) return;
  throw bridgeError(
    "FAILED_PRECONDITION",
    "RUN_DIR_TOO_LONG",
    `the run directory's path is ${longest - 107} bytes too long for sockets in ${directory}`,
  );
}

async function spawnIn(
  directory: string,
  options: { binary: string; args: string[]; files: number[]; identity: Identity | undefined },
): Promise<VmmProcess> {
  const log = await open(vmmLogPath(directory), "wx", 0o600);
  try {
    return await spawnVmm({ ...options, directory, logFd: log.fd });
  } finally {
    await log.close();
  }
}

/** A VMM's user. With KVM its group is that of /dev/kvm, the only thing that this group may own. */
async function vmmIdentity(host: LaunchHost, accelerator: Accelerator): Promise<Identity | undefined> {
  if (!host.identities) return undefined;
  const group = accelerator === "kvm" ? await kvmGroup(KVM_DEVICE) : undefined;
  const { uid, gid } = await host.identities.take();
  return { uid, gid: group ?? gid };
}

async function connectDomain(
  vmm: VmmProcess,
  spec: LaunchSpec,
  directory: string,
  identity: Identity | undefined,
  signal: AbortSignal,
): Promise<QemuDomain> {
  const died = new AbortController();
  vmm
    .exited()
    .then(() => died.abort(bridgeError("UNAVAILABLE", "VMM_DIED", "QEMU ended before it opened its monitor")));
  const either = AbortSignal.any([signal, died.signal]);
  const paths = socketPaths(directory);
  const witness = new EndWitness();
  const socket = await connectWhenThere(paths.qmp, START_MS, either);
  const qmp = await QmpClient.open(socket, { timeoutMs: START_MS, onEvent: (event) => witness.event(event) });
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
  return new QemuDomain({ record, cloned: spec.start.kind === "clone", vmm, qmp, witness, console });
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

/** What QEMU itself printed says more than that it is gone. */
function startFailed(error: unknown, vmmLog: string): unknown {
  const gone = error instanceof ZoneError && /^(QMP_|VMM_DIED)/.test(error.reason);
  if (!gone || vmmLog === "") return error;
  return bridgeError("FAILED_PRECONDITION", "BOOT_FAILED", `QEMU did not start: ${vmmLog}`, undefined, error);
}
