import { bridge, type zone } from "@zone/proto";
import { bridgeError } from "../errors.js";
import { sizeOf } from "../numbers.js";
import { MAX_STRING_BYTES, nameOf } from "./command.js";
import { checkMounts } from "./mount-spec.js";
import { NAME_PATTERN } from "./names.js";
import { checkExtraHosts, checkNetwork, checkPorts } from "./network-spec.js";
import { checkRights } from "./security-spec.js";
import { parseSignal } from "./signals.js";
import { inMib, invalid, quote } from "./spec-error.js";

export type ZoneSpec = zone.bridge.v1.ZoneSpec.$Properties;

const MIB = 1024 * 1024;
export const DEFAULT_MEMORY_BYTES = 256 * MIB;
export const MIN_MEMORY_BYTES = 96 * MIB;
export const DEFAULT_CPU_MILLIS = 1000;
const MIN_CPU_MILLIS = 10;
/** A zone can grow to so many times its memory, and so many cpus, unless it says otherwise. */
const GROWTH = 4;
const DEFAULT_MAX_CPUS = 8;
/** Docker's: less is not enough for a process to start. */
const MIN_MEMORY_LIMIT_BYTES = 6 * MIB;
/** pid_max of a 64-bit kernel. */
const MAX_PIDS = 4_194_304;
const MAX_IMAGE_LENGTH = 1024;
const MAX_ENV = 4096;
/** hostname(7). */
const HOSTNAME_PATTERN = /^[a-zA-Z0-9]([a-zA-Z0-9.-]{0,61}[a-zA-Z0-9])?$/;
const CONTROL_CHARACTERS = /\p{Cc}/u;

/** What the host has; zones that want more are refused. */
export interface HostSize {
  memoryBytes: number;
  cpus: number;
}

/**
 * Checks what can be checked of a request before its image is there, and without a look at the host's files; fills in the
 * defaults except the name. Throws the INVALID_ARGUMENT reasons of zones.proto, and MEMORY_TOO_SMALL.
 */
export function checkSpec(spec: ZoneSpec, host: HostSize): ZoneSpec {
  if (spec.name) checkName(spec.name);
  if (spec.hostname && !HOSTNAME_PATTERN.test(spec.hostname)) {
    const rule = "use 1 to 63 letters, digits, '.' and '-', with a letter or digit at each end";
    throw invalid("INVALID_NAME", `${quote(spec.hostname)} cannot be a hostname: ${rule}`);
  }
  checkImage(spec.image ?? "");
  checkEnv(spec.env ?? []);
  if (spec.stopSignal) parseSignal(spec.stopSignal);
  checkExtraHosts(spec.extraHosts ?? []);
  checkRights(spec);
  const memoryBytes = checkMemory(sizeOf(spec.memoryBytes) || DEFAULT_MEMORY_BYTES, host.memoryBytes);
  const cpuMillis = checkCpus(spec.cpuMillis || DEFAULT_CPU_MILLIS, host.cpus);
  checkPidsLimit(sizeOf(spec.pidsLimit));
  checkMemoryLimit(sizeOf(spec.memoryLimitBytes), memoryBytes);
  checkShm(sizeOf(spec.shmBytes), memoryBytes);
  return {
    ...spec,
    memoryBytes,
    cpuMillis,
    bootMode: spec.bootMode || bridge.BootMode.BOOT_MODE_TEMPLATE,
    mounts: checkMounts(spec.mounts ?? []),
    ports: checkPorts(spec.ports ?? []),
    network: checkNetwork(spec.network),
    maxMemoryBytes: maxMemory(sizeOf(spec.maxMemoryBytes), memoryBytes, host.memoryBytes),
    maxCpus: maxCpus(spec.maxCpus ?? 0, vcpusFor(cpuMillis), host.cpus),
  };
}

/** INVALID_NAME unless `name` can be a zone's. */
export function checkName(name: string): void {
  if (NAME_PATTERN.test(name)) return;
  const rule = "use 1 to 63 letters, digits, '_', '.' and '-', beginning with a letter or digit";
  throw invalid("INVALID_NAME", `${quote(name)} cannot be a zone's name: ${rule}`);
}

function checkImage(image: string): void {
  if (image === "")
    throw invalid("INVALID_IMAGE", "no image is named: give one, such as busybox or docker://debian:12");
  if (image.length > MAX_IMAGE_LENGTH || CONTROL_CHARACTERS.test(image) || image.startsWith("-")) {
    throw invalid("INVALID_IMAGE", `${quote(image)} cannot be an image's name`);
  }
}

function checkEnv(env: readonly Uint8Array[]): void {
  if (env.length > MAX_ENV) {
    throw invalid("INVALID_ENV", `${env.length} environment variables are too many: give at most ${MAX_ENV}`);
  }
  for (const entry of env) {
    if (nameOf(entry) !== undefined && !entry.includes(0) && entry.length < MAX_STRING_BYTES) continue;
    const rule = "each must be NAME=value without NUL, shorter than 128 KiB";
    throw invalid("INVALID_ENV", `${quote(Buffer.from(entry).toString())} cannot be an environment variable: ${rule}`);
  }
}

/** The memory of a zone in whole MiB. MEMORY_TOO_SMALL, INVALID_MEMORY. */
export function checkMemory(bytes: number, hostBytes: number): number {
  if (bytes < MIN_MEMORY_BYTES) {
    const message = `${inMib(bytes)} MiB of memory is too little for a zone to boot: give at least ${inMib(MIN_MEMORY_BYTES)} MiB`;
    throw bridgeError("FAILED_PRECONDITION", "MEMORY_TOO_SMALL", message);
  }
  if (!(bytes <= hostBytes)) {
    const message = `${inMib(bytes)} MiB of memory is more than this host's ${inMib(hostBytes)} MiB`;
    throw invalid("INVALID_MEMORY", message);
  }
  return Math.ceil(bytes / MIB) * MIB;
}

/** INVALID_CPUS unless a zone can have so much of `cpus` cpus. */
export function checkCpus(millis: number, cpus: number): number {
  if (millis < MIN_CPU_MILLIS || millis > cpus * 1000) {
    const message = `${millis / 1000} cpus cannot be had: give ${MIN_CPU_MILLIS / 1000} to ${cpus}`;
    throw invalid("INVALID_CPUS", message);
  }
  return millis;
}

/** INVALID_LIMIT unless a container can be limited to so many processes; 0 is no limit. */
export function checkPidsLimit(pids: number): void {
  if (pids >= 0 && pids <= MAX_PIDS) return;
  throw invalid("INVALID_LIMIT", `${pids} cannot be a limit of processes: give 1 to ${MAX_PIDS}, or 0 for none`);
}

/** INVALID_LIMIT unless a container in a zone of `memoryBytes` can be limited to so much; 0 is no limit. */
export function checkMemoryLimit(bytes: number, memoryBytes: number): void {
  if (bytes === 0 || (bytes >= MIN_MEMORY_LIMIT_BYTES && bytes <= memoryBytes)) return;
  const rule = `give ${inMib(MIN_MEMORY_LIMIT_BYTES)} MiB to the zone's own ${inMib(memoryBytes)} MiB, or 0 for none`;
  throw invalid("INVALID_LIMIT", `${inMib(bytes)} MiB cannot be the container's memory limit: ${rule}`);
}

function checkShm(bytes: number, memoryBytes: number): void {
  if (bytes <= memoryBytes) return;
  const message = `${inMib(bytes)} MiB of /dev/shm is more than the zone's ${inMib(memoryBytes)} MiB of memory`;
  throw invalid("INVALID_LIMIT", message);
}

function maxMemory(asked: number, memoryBytes: number, hostBytes: number): number {
  if (asked === 0) return Math.max(memoryBytes, Math.min(GROWTH * memoryBytes, Math.floor(hostBytes / MIB) * MIB));
  if (asked >= memoryBytes) return checkMemory(asked, hostBytes);
  const message = `a zone with ${inMib(memoryBytes)} MiB of memory cannot have at most ${inMib(asked)} MiB: give no less`;
  throw invalid("INVALID_MEMORY", message);
}

function maxCpus(asked: number, vcpus: number, hostCpus: number): number {
  if (asked === 0) return Math.max(vcpus, Math.min(hostCpus, DEFAULT_MAX_CPUS));
  if (asked >= vcpus && asked <= hostCpus) return asked;
  throw invalid("INVALID_CPUS", `a zone cannot have at most ${asked} cpus here: give ${vcpus} to ${hostCpus}`);
}

/** As many vCPUs as so much of cpus needs. */
export function vcpusFor(cpuMillis: number): number {
  return Math.ceil(cpuMillis / 1000);
}

/** The hostname: what was asked for, or the name as far as it can be one. */
export function hostnameOf(spec: ZoneSpec): string {
  return spec.hostname || (spec.name ?? "").replaceAll("_", "-").replace(/[.-]+$/, "");
}

/** The number of the signal that asks the main process to end: the request's, the image's, or SIGTERM. */
export function stopSignalOf(spec: ZoneSpec, image: { stopSignal: string }): number {
  if (spec.stopSignal) return parseSignal(spec.stopSignal);
  try {
    return parseSignal(image.stopSignal || "SIGTERM");
  } catch {
    return parseSignal("SIGTERM"); // an image's mistake must not keep it from being run
  }
}
