import type { zone } from "@zone/proto";
import { checkCapabilities } from "./capabilities.js";
import { checkCount, invalid, quote } from "./spec-error.js";

export type SecuritySpec = zone.bridge.v1.Security.$Properties;
export type UlimitSpec = zone.bridge.v1.Ulimit.$Properties;

const MAX_PROFILE_BYTES = 1024 * 1024;
const MAX_ENTRIES = 128;
/** setrlimit(2), without RLIMIT_, in lower case. */
const RLIMITS = new Set(
  "cpu fsize data stack core rss nproc nofile memlock as locks sigpending msgqueue nice rtprio rttime".split(" "),
);
const CONTROL_CHARACTERS = /\p{Cc}/u;
const SYSCTL_PATTERN = /^[a-zA-Z0-9_][a-zA-Z0-9_./-]{0,254}$/;
const GROUP_PATTERN = /^[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,31}\$?$/;
const PERMISSIONS_PATTERN = /^[rwm]{1,3}$/;
const MAX_OOM_SCORE = 1000;

/** What of a ZoneSpec is about the rights of its processes. */
export interface RightsSpec {
  capAdd?: readonly string[] | null;
  capDrop?: readonly string[] | null;
  security?: SecuritySpec | null;
  ulimits?: readonly UlimitSpec[] | null;
  devices?: readonly string[] | null;
  sysctls?: readonly string[] | null;
  groupAdd?: readonly string[] | null;
  oomScoreAdj?: number | null;
}

/** Throws INVALID_SECURITY, INVALID_LIMIT or INVALID_DEVICE. */
export function checkRights(spec: RightsSpec): void {
  checkCapabilities(spec.capAdd ?? []);
  checkCapabilities(spec.capDrop ?? []);
  checkSecurity(spec.security ?? {});
  checkCount("INVALID_LIMIT", "ulimits", spec.ulimits, RLIMITS.size);
  for (const ulimit of spec.ulimits ?? []) checkUlimit(ulimit);
  checkCount("INVALID_DEVICE", "devices", spec.devices, MAX_ENTRIES);
  for (const device of spec.devices ?? []) parseDevice(device);
  checkCount("INVALID_LIMIT", "sysctls", spec.sysctls, MAX_ENTRIES);
  for (const sysctl of spec.sysctls ?? []) parseSysctl(sysctl);
  checkCount("INVALID_SECURITY", "additional groups", spec.groupAdd, MAX_ENTRIES);
  for (const group of spec.groupAdd ?? []) {
    if (!GROUP_PATTERN.test(group))
      throw invalid("INVALID_SECURITY", `${quote(group)} is no group: give a name or number`);
  }
  if (Math.abs(spec.oomScoreAdj ?? 0) > MAX_OOM_SCORE) {
    const message = `${spec.oomScoreAdj} cannot be an OOM score adjustment: give ${-MAX_OOM_SCORE} to ${MAX_OOM_SCORE}`;
    throw invalid("INVALID_LIMIT", message);
  }
}

function checkSecurity({ seccompUnconfined, seccompProfile, privileged }: SecuritySpec): void {
  const bytes = seccompProfile?.length ?? 0;
  if (bytes === 0) return;
  if (seccompUnconfined || privileged) {
    const message = `a seccomp profile makes no sense beside ${privileged ? "privileged" : "seccomp=unconfined"}: give one of them`;
    throw invalid("INVALID_SECURITY", message);
  }
  if (bytes > MAX_PROFILE_BYTES) {
    throw invalid("INVALID_SECURITY", `the seccomp profile is ${bytes} bytes: give at most ${MAX_PROFILE_BYTES}`);
  }
  try {
    const profile: unknown = JSON.parse(Buffer.from(seccompProfile ?? []).toString("utf8"));
    if (typeof profile !== "object" || profile === null || Array.isArray(profile))
      throw new TypeError("it is no object");
  } catch (thrown) {
    const why = thrown instanceof Error ? thrown.message : String(thrown);
    throw invalid("INVALID_SECURITY", `the seccomp profile is not JSON: ${quote(why)}`);
  }
}

function checkUlimit({ type, soft, hard, unlimited }: UlimitSpec): void {
  if (!RLIMITS.has(type ?? "")) {
    throw invalid("INVALID_LIMIT", `${quote(type ?? "")} is no ulimit: give one of ${[...RLIMITS].join(", ")}`);
  }
  if (!unlimited && (soft ?? 0) > (hard ?? 0)) {
    throw invalid("INVALID_LIMIT", `ulimit ${type}: the soft limit ${soft} is above the hard limit ${hard ?? 0}`);
  }
}

/** The parts of "PATH[:PATH IN THE CONTAINER[:rwm]]"; INVALID_DEVICE. */
export function parseDevice(text: string): zone.agent.v1.Device.$Properties {
  const [path = "", second = "", third = "", ...rest] = text.split(":");
  // As docker run --device has it: "/dev/fuse:rw" means permissions.
  const permissionsOnly = third === "" && rest.length === 0 && PERMISSIONS_PATTERN.test(second);
  const containerPath = permissionsOnly ? "" : second;
  const permissions = permissionsOnly ? second : third;
  const isPath = (each: string) => each.startsWith("/") && !CONTROL_CHARACTERS.test(each) && each.length < 256;
  const fits = isPath(path) && (containerPath === "" || isPath(containerPath)) && rest.length === 0;
  if (!fits || (permissions !== "" && !PERMISSIONS_PATTERN.test(permissions))) {
    const rule = "give a device of the zone as /dev/fuse or /dev/fuse:/dev/fuse:rwm";
    throw invalid("INVALID_DEVICE", `${quote(text)} is no device: ${rule}`);
  }
  return { path, containerPath, permissions };
}

/** The parts of "NAME=VALUE"; INVALID_LIMIT. */
export function parseSysctl(text: string): zone.agent.v1.Sysctl.$Properties {
  const [, name = "", value = ""] = /^([^=]*)=(.*)$/s.exec(text) ?? [];
  if (!SYSCTL_PATTERN.test(name) || value === "" || value.length > 1024 || CONTROL_CHARACTERS.test(value)) {
    throw invalid("INVALID_LIMIT", `${quote(text)} is no sysctl: give NAME=VALUE, such as net.core.somaxconn=1024`);
  }
  return { name, value };
}
