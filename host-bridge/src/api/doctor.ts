import { constants } from "node:fs";
import { access, statfs } from "node:fs/promises";
import { freemem, totalmem } from "node:os";
import { delimiter, join } from "node:path";
import { bridge, type zone } from "@zone/proto";
import { openZoneImage } from "../domains/zone-image.js";
import { errorMessage } from "../errors.js";

/** One thing that was looked at; zone.bridge.v1.Check. */
export type HealthCheck = zone.bridge.v1.Check.$Properties;

const { RESULT_OK, RESULT_WARNING, RESULT_FAILED } = bridge.Check.Result;
const ZONE_IMAGE = "zone image";
const GIB = 1024 ** 3;
/** Room for an image or two; what a zone of the usual size takes. */
const LOW_DISK_BYTES = 2 * GIB;
const LOW_MEMORY_BYTES = 0.5 * GIB;

/** Programs that the bridge runs, what for, and the Debian package that has them. */
const PROGRAMS = [
  ["skopeo", "brings images from registries and archives", "skopeo"],
  ["mkfs.ext4", "makes the file systems of volumes", "e2fsprogs"],
] as const;
/** Where Debian has programs that a user's PATH may not lead to. */
const SBIN = ["/usr/sbin", "/sbin"];

export interface DoctorOptions {
  stateDir: string;
  imageDir: string;
  uid: number;
  path: string;
}

/** The checks of what is the bridge's own; the driver's come beside them. */
export async function hostChecks(options: DoctorOptions): Promise<HealthCheck[]> {
  return [
    rootCheck(options.uid),
    ...(await Promise.all(PROGRAMS.map((program) => programCheck(program, options.path)))),
    await busyboxCheck(),
    ...(await attempted(ZONE_IMAGE, () => imageCheck(options.imageDir))),
    await diskCheck(options.stateDir),
    memoryCheck(),
  ];
}

function rootCheck(uid: number): HealthCheck {
  if (uid === 0) return { name: "root", result: RESULT_OK, message: "the bridge runs as root" };
  const message = `the bridge runs as uid ${uid}: it cannot give each zone's VMM a user of its own`;
  return {
    name: "root",
    result: RESULT_WARNING,
    message,
    advice: "run zone-bridge as root, or as the systemd unit in deploy/",
  };
}

async function programCheck([name, use, debian]: (typeof PROGRAMS)[number], path: string): Promise<HealthCheck> {
  for (const folder of [...path.split(delimiter), ...SBIN]) {
    const file = join(folder, name);
    if (await isExecutable(file)) return { name, result: RESULT_OK, message: file };
  }
  return {
    name,
    result: RESULT_FAILED,
    message: `${name}, which ${use}, is not on PATH`,
    advice: `apt-get install ${debian}`,
  };
}

async function isExecutable(file: string): Promise<boolean> {
  return access(file, constants.X_OK).then(
    () => true,
    () => false,
  );
}

async function busyboxCheck(): Promise<HealthCheck> {
  const name = "busybox";
  if (await isExecutable("/bin/busybox")) return { name, result: RESULT_OK, message: "/bin/busybox" };
  const message = "there is no /bin/busybox: the built-in image cannot be made";
  return { name, result: RESULT_WARNING, message, advice: "apt-get install busybox-static" };
}

async function imageCheck(imageDir: string): Promise<HealthCheck[]> {
  const { version, kernelRelease, directory } = await openZoneImage(imageDir);
  return [{ name: ZONE_IMAGE, result: RESULT_OK, message: `${version} with Linux ${kernelRelease}, in ${directory}` }];
}

async function diskCheck(stateDir: string): Promise<HealthCheck> {
  const { bavail, bsize } = await statfs(stateDir);
  const free = bavail * bsize;
  const message = `${gib(free)} GiB free in ${stateDir}`;
  const check = { name: "disk", message };
  if (free >= LOW_DISK_BYTES) return { ...check, result: RESULT_OK };
  return { ...check, result: RESULT_WARNING, advice: "remove images (zonectl image rm) or zones, or make room" };
}

function memoryCheck(): HealthCheck {
  const message = `${gib(freemem())} of ${gib(totalmem())} GiB free`;
  if (freemem() >= LOW_MEMORY_BYTES) return { name: "memory", result: RESULT_OK, message };
  return {
    name: "memory",
    result: RESULT_WARNING,
    message,
    advice: "zones that start now may be slow, or end others: stop some",
  };
}

function gib(bytes: number): string {
  return (bytes / GIB).toFixed(1);
}

/** A check that says why it could not be made. */
export async function attempted(name: string, check: () => Promise<HealthCheck[]>): Promise<HealthCheck[]> {
  try {
    return await check();
  } catch (thrown) {
    return [{ name, result: RESULT_FAILED, message: errorMessage(thrown) }];
  }
}
