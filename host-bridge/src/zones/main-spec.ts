import { bridge, type zone } from "@zone/proto";
import type { DomainConfig, DomainDisk, DomainShare } from "../domains/driver.js";
import type { ImageConfig } from "../images/image-store.js";
import { exactInteger } from "../numbers.js";
import { capabilitiesOf } from "./capabilities.js";
import { commandOf, environmentOf } from "./command.js";
import { parseExtraHost } from "./network-spec.js";
import { parseDevice, parseSysctl } from "./security-spec.js";
import { DEFAULT_CPU_MILLIS, DEFAULT_MEMORY_BYTES, hostnameOf, vcpusFor, type ZoneSpec } from "./spec.js";
import { invalid, quote } from "./spec-error.js";

type ProcessSpec = zone.agent.v1.ProcessSpec.$Properties;
type Resources = zone.agent.v1.Resources.$Properties;

const MAX_TTY_SIZE = 65_535;
const DEFAULT_TTY = { rows: 24, columns: 80 };
/** Id of a zone's main process, of its container, and serial of the disk that its root is on. */
export const MAIN = "main";
const ROOT_DISK_SERIAL = "w0";

/**
 * The main process of a checked and named request. Throws NO_COMMAND.
 * Output is kept until the log has it (BLOCK): a zone whose log cannot be written stops, and loses nothing.
 */
export function mainProcess(spec: ZoneSpec, image: ImageConfig): ProcessSpec {
  const argv = commandOf(image, spec.entrypoint ? (spec.entrypoint.argv ?? []) : undefined, spec.command ?? []);
  if (argv.length === 0) throw invalid("NO_COMMAND", `${quote(spec.image ?? "")} names no command to run: give one`);
  const tty = spec.tty
    ? { tty: { rows: ttySize(spec.ttyRows, DEFAULT_TTY.rows), columns: ttySize(spec.ttyColumns, DEFAULT_TTY.columns) } }
    : {};
  return {
    id: MAIN,
    containerId: MAIN,
    init: true,
    argv,
    env: environmentOf(image, spec.env ?? [], hostnameOf(spec), Boolean(spec.tty)),
    cwd: spec.cwd || image.workingDir,
    user: spec.user || image.user,
    ...tty,
    stdin: spec.stdin ?? false,
    ...rights(spec),
  };
}

/** What is the main process's alone; the rest is its container's, so that it is the same for whoever joins it. */
function rights(spec: ZoneSpec): ProcessSpec {
  return {
    ...(spec.groupAdd?.length && { additionalGroups: spec.groupAdd }),
    ...(spec.oomScoreAdj && { oomScoreAdj: spec.oomScoreAdj }),
    ...(spec.init && { reaper: true }),
  };
}

function ttySize(given: number | null | undefined, otherwise: number): number {
  return Math.min(given || otherwise, MAX_TTY_SIZE);
}

/** The container of a checked and named request, in a zone with `vcpus`. */
export function mainContainer(
  spec: ZoneSpec,
  mounts: readonly zone.agent.v1.MountSpec.$Properties[] = [],
): zone.agent.v1.CreateContainerRequest.$Properties {
  const limits = containerLimits(spec, vcpusFor(spec.cpuMillis ?? DEFAULT_CPU_MILLIS));
  const hosts = (spec.extraHosts ?? []).map(parseExtraHost);
  const { security } = spec;
  const names = capabilitiesOf(spec.capAdd ?? [], spec.capDrop ?? []);
  const seccomp = security?.seccompUnconfined
    ? { unconfined: true }
    : security?.seccompProfile?.length
      ? { profile: security.seccompProfile }
      : undefined;
  return {
    id: MAIN,
    rootfs: { blockSerial: ROOT_DISK_SERIAL, fsType: "erofs", readOnly: spec.readOnly ?? false },
    hostname: hostnameOf(spec),
    ...(Object.keys(limits).length > 0 && { limits }),
    ...(hosts.length > 0 && { hosts: hosts.map(({ name, address }) => ({ address, names: [name] })) }),
    ...(mounts.length > 0 && { mounts: [...mounts] }),
    ...(spec.devices?.length && { devices: spec.devices.map(parseDevice) }),
    ...(seccomp && { seccomp }),
    ...(spec.shmBytes && { shmBytes: spec.shmBytes }),
    ...(spec.sysctls?.length && { sysctls: spec.sysctls.map(parseSysctl) }),
    ...(security?.noNewPrivileges && { noNewPrivileges: true }),
    ...(security?.privileged && { privileged: true }),
    ...(names && { capabilities: { names } }),
    ...(spec.ulimits?.length && { rlimits: spec.ulimits }),
  };
}

/** What of its zone a container may use; nothing where it may use all. */
export function containerLimits(spec: ZoneSpec, vcpus: number): Resources {
  const millis = spec.cpuMillis ?? DEFAULT_CPU_MILLIS;
  const [memory, pids] = [exactInteger(spec.memoryLimitBytes), exactInteger(spec.pidsLimit)];
  return {
    ...(millis !== vcpus * 1000 && { cpuMillis: millis }),
    ...(memory > 0 && { memoryBytes: memory }),
    ...(pids > 0 && { pids }),
  };
}

/** The domain of a checked request: as many vCPUs as its cpus need, its image as first disk. */
export function domainConfig(
  id: string,
  spec: ZoneSpec,
  has: { rootPath: string; disks?: DomainDisk[]; shares?: DomainShare[] },
): DomainConfig {
  const vcpus = vcpusFor(spec.cpuMillis ?? DEFAULT_CPU_MILLIS);
  const memoryBytes = spec.memoryBytes ?? DEFAULT_MEMORY_BYTES;
  return {
    id,
    memoryBytes,
    vcpus,
    disks: [{ path: has.rootPath, serial: ROOT_DISK_SERIAL, readOnly: true }, ...(has.disks ?? [])],
    shares: has.shares ?? [],
    network: { kind: isIsolated(spec) ? "none" : "user" },
    maxMemoryBytes: exactInteger(spec.maxMemoryBytes) || memoryBytes,
    maxVcpus: spec.maxCpus || vcpus,
    cold: spec.bootMode === bridge.BootMode.BOOT_MODE_COLD,
  };
}

/** Whether a zone has no network but its loopback. */
export function isIsolated(spec: ZoneSpec): boolean {
  return spec.network?.mode === bridge.Network.Mode.MODE_NONE;
}
