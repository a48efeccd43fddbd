import { bridge, type zone } from "@zone/proto";
import type { DomainConfig } from "../domains/driver.js";
import { bridgeError } from "../errors.js";
import type { ImageConfig } from "../images/image-store.js";
import { commandOf, environmentOf, MAX_STRING_BYTES, nameOf } from "./command.js";
import { NAME_PATTERN } from "./names.js";
import { parseSignal } from "./signals.js";

export type ZoneSpec = zone.bridge.v1.ZoneSpec.$Properties;
type ProcessSpec = zone.agent.v1.ProcessSpec.$Properties;

const MIB = 1024 * 1024;
export const DEFAULT_MEMORY_BYTES = 256 * MIB;
export const MIN_MEMORY_BYTES = 96 * MIB;
export const DEFAULT_CPU_MILLIS = 1000;
const MIN_CPU_MILLIS = 10;
const MAX_IMAGE_LENGTH = 1024;
const MAX_TTY_SIZE = 65_535;
const DEFAULT_TTY = { rows: 24, columns: 80 };
/** Id of a zone's main process, of its container, and serial of the disk that its root is on. */
export const MAIN = "main";
const ROOT_DISK_SERIAL = "w0";
/** hostname(7). */
const HOSTNAME_PATTERN = /^[a-zA-Z0-9]([a-zA-Z0-9.-]{0,61}[a-zA-Z0-9])?$/;
const CONTROL_CHARACTERS = /\p{Cc}/u;

/** What the host has; zones that want more are refused. */
export interface HostSize {
  memoryBytes: number;
  cpus: number;
}

/**
 * Checks what can be checked of a request before its image is there, and fills in the defaults except the name.
 * Throws the INVALID_ARGUMENT reasons of zones.proto, and MEMORY_TOO_SMALL.
 */
export function checkSpec(spec: ZoneSpec, host: HostSize): ZoneSpec {
  const invalid = (reason: string, message: string) => bridgeError("INVALID_ARGUMENT", reason, message);
  if (spec.name && !NAME_PATTERN.test(spec.name)) {
    const rule = "use 1 to 63 letters, digits, '_', '.' and '-', beginning with a letter or digit";
    throw invalid("INVALID_NAME", `${quote(spec.name)} cannot be a zone's name: ${rule}`);
  }
  if (spec.hostname && !HOSTNAME_PATTERN.test(spec.hostname)) {
    const rule = "use 1 to 63 letters, digits, '.' and '-', with a letter or digit at each end";
    throw invalid("INVALID_NAME", `${quote(spec.hostname)} cannot be a hostname: ${rule}`);
  }
  const image = spec.image ?? "";
  if (image === "")
    throw invalid("INVALID_IMAGE", "no image is named: give one, such as busybox or docker://debian:12");
  if (image.length > MAX_IMAGE_LENGTH || CONTROL_CHARACTERS.test(image) || image.startsWith("-")) {
    throw invalid("INVALID_IMAGE", `${quote(image)} cannot be an image's name`);
  }
  for (const entry of spec.env ?? []) {
    if (nameOf(entry) === undefined || entry.includes(0) || entry.length >= MAX_STRING_BYTES) {
      const rule = "each must be NAME=value without NUL, shorter than 128 KiB";
      throw invalid(
        "INVALID_ENV",
        `${quote(Buffer.from(entry).toString())} cannot be an environment variable: ${rule}`,
      );
    }
  }
  if (spec.stopSignal) parseSignal(spec.stopSignal);
  return {
    ...spec,
    memoryBytes: checkMemory(Number(spec.memoryBytes ?? 0) || DEFAULT_MEMORY_BYTES, host.memoryBytes),
    cpuMillis: checkCpus(spec.cpuMillis || DEFAULT_CPU_MILLIS, host.cpus),
    bootMode: spec.bootMode || bridge.BootMode.BOOT_MODE_TEMPLATE,
  };
}

function checkMemory(bytes: number, hostBytes: number): number {
  if (bytes < MIN_MEMORY_BYTES) {
    const message = `${inMib(bytes)} MiB of memory is too little for a zone to boot: give at least ${inMib(MIN_MEMORY_BYTES)} MiB`;
    throw bridgeError("FAILED_PRECONDITION", "MEMORY_TOO_SMALL", message);
  }
  if (bytes > hostBytes) {
    const message = `${inMib(bytes)} MiB of memory is more than this host's ${inMib(hostBytes)} MiB`;
    throw bridgeError("INVALID_ARGUMENT", "INVALID_MEMORY", message);
  }
  return Math.ceil(bytes / MIB) * MIB;
}

function checkCpus(millis: number, hostCpus: number): number {
  if (millis < MIN_CPU_MILLIS || millis > hostCpus * 1000) {
    const message = `${millis / 1000} cpus cannot be had: give ${MIN_CPU_MILLIS / 1000} to ${hostCpus}`;
    throw bridgeError("INVALID_ARGUMENT", "INVALID_CPUS", message);
  }
  return millis;
}

/**
 * The main process of a checked and named request. Throws NO_COMMAND.
 * Output is kept until the log has it (BLOCK): a zone whose log cannot be written stops, and loses nothing.
 */
export function mainProcess(spec: ZoneSpec, image: ImageConfig): ProcessSpec {
  const argv = commandOf(image, spec.entrypoint ? (spec.entrypoint.argv ?? []) : undefined, spec.command ?? []);
  if (argv.length === 0) {
    const message = `${quote(spec.image ?? "")} names no command to run: give one`;
    throw bridgeError("INVALID_ARGUMENT", "NO_COMMAND", message);
  }
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
  };
}

function ttySize(given: number | null | undefined, otherwise: number): number {
  return Math.min(given || otherwise, MAX_TTY_SIZE);
}

/** The container of a checked and named request. */
export function mainContainer(spec: ZoneSpec): zone.agent.v1.CreateContainerRequest.$Properties {
  const millis = spec.cpuMillis ?? DEFAULT_CPU_MILLIS;
  return {
    id: MAIN,
    rootfs: { blockSerial: ROOT_DISK_SERIAL, fsType: "erofs", readOnly: spec.readOnly ?? false },
    hostname: hostnameOf(spec),
    ...(millis % 1000 === 0 ? {} : { limits: { cpuMillis: millis } }),
  };
}

/** The domain of a checked request: as many vCPUs as its cpus need. */
export function domainConfig(id: string, spec: ZoneSpec, diskPath: string): DomainConfig {
  return {
    id,
    memoryBytes: spec.memoryBytes ?? DEFAULT_MEMORY_BYTES,
    vcpus: Math.ceil((spec.cpuMillis ?? DEFAULT_CPU_MILLIS) / 1000),
    disks: [{ path: diskPath, serial: ROOT_DISK_SERIAL }],
    cold: spec.bootMode === bridge.BootMode.BOOT_MODE_COLD,
  };
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

function quote(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 77)}...` : text);
}

function inMib(bytes: number): number {
  return Math.floor(bytes / MIB);
}
