import { mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { addEntropy, MS, mount, setHostname, setTime } from "@zone/native";
import type { google, zone } from "@zone/proto";
import { errnoOf, invalid } from "../errors.js";
import { LIMITS } from "../limits.js";
import { checkHostname } from "./hostname.js";

/** Files of the zone's identity. */
export interface IdentityPaths {
  /** /run/zone: what the agent keeps across its own restarts; memory, so it ends with the boot. */
  runDir: string;
  /** /etc/machine-id, that /run/zone/machine-id is bind-mounted over; undefined outside a zone, where nothing is mounted. */
  etcMachineId: string | undefined;
}

/** Who the zone is. */
export interface Identity {
  /** 32 hexadecimal digits; empty before Renew in a template. */
  machineId: string;
  /** Chosen by the bridge in Renew; empty before. */
  instanceId: string;
}

/** What Renew was asked for, checked. */
export interface Renewal {
  unixMs: number;
  entropy: Uint8Array;
  machineId: string;
  hostname: string;
  instanceId: string;
}

/** Checks a RenewRequest; throws its INVALID_ARGUMENT reasons. */
export function checkRenewal(request: zone.agent.v1.RenewRequest.$Properties): Renewal {
  const machineId = request.machineId ?? "";
  if (!/^[0-9a-f]{32}$/.test(machineId) || /^0+$/.test(machineId)) {
    throw invalid(
      "INVALID_MACHINE_ID",
      "machine_id must be 32 lower-case hexadecimal digits, not all 0; machine-id(5)",
    );
  }
  const instanceId = request.instanceId ?? "";
  if (!/^[!-~]+$/.test(instanceId) || instanceId.length > LIMITS.instanceIdLength) {
    throw invalid(
      "INVALID_MACHINE_ID",
      `instance_id must be 1 to ${LIMITS.instanceIdLength} printable ASCII characters`,
    );
  }
  return {
    ...{ machineId, instanceId },
    unixMs: checkTime(request.time),
    entropy: checkEntropy(request.entropy),
    hostname: checkHostname(request.hostname ?? ""),
  };
}

/** 1970 to 2200; INVALID_TIME. */
export function checkTime(time: google.protobuf.Timestamp.$Properties | null | undefined): number {
  const unixMs = Number(time?.seconds ?? 0) * 1000 + (time?.nanos ?? 0) / 1e6;
  if (!time || !(unixMs > 0 && unixMs < 7_258_118_400_000)) {
    throw invalid("INVALID_TIME", "time is missing, or not between 1970 and 2200");
  }
  return unixMs;
}

/** INVALID_ENTROPY. */
export function checkEntropy(entropy: Uint8Array | null | undefined): Uint8Array {
  const { min, max } = LIMITS.entropyBytes;
  if (entropy && entropy.length >= min && entropy.length <= max) return entropy;
  throw invalid("INVALID_ENTROPY", `entropy has ${entropy?.length ?? 0} bytes; it must have ${min} to ${max}`);
}

/** Sets the clock; what it was off by, in milliseconds: positive when it was behind. */
export function adjustClock(unixMs: number): number {
  const adjusted = Math.round(unixMs - Date.now());
  setTime(unixMs);
  return adjusted;
}

/** Makes the zone one of its own, in the order that the specification gives; what the clock was off by. */
export function renew(renewal: Renewal, paths: IdentityPaths): number {
  const adjusted = adjustClock(renewal.unixMs);
  addEntropy(renewal.entropy);
  writeMachineId(renewal.machineId, paths);
  setHostname(renewal.hostname);
  // Last, and atomic: a restarted agent takes the zone for renewed when this file is there.
  const { machineId, instanceId } = renewal;
  writeAtomically(identityFile(paths), JSON.stringify({ machineId, instanceId } satisfies Identity));
  return adjusted;
}

/** The identity that a Renew in this boot has given; undefined when there was none. */
export function readIdentity(paths: IdentityPaths): Identity | undefined {
  let text: string;
  try {
    text = readFileSync(identityFile(paths), "utf8");
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw error;
  }
  return JSON.parse(text) as Identity;
}

function writeMachineId(machineId: string, { runDir, etcMachineId }: IdentityPaths): void {
  const file = join(runDir, "machine-id");
  mkdirSync(runDir, { recursive: true });
  // In place: the file is what is mounted, a new one in its stead would not be.
  writeFileSync(file, `${machineId}\n`, { mode: 0o644 });
  if (etcMachineId !== undefined && !sameFile(file, etcMachineId)) mount(file, etcMachineId, "", MS.BIND, "");
}

function sameFile(a: string, b: string): boolean {
  const [first, second] = [statSync(a), statSync(b)];
  return first.dev === second.dev && first.ino === second.ino;
}

function identityFile({ runDir }: IdentityPaths): string {
  return join(runDir, "identity.json");
}

/** Writes a file so that a reader finds the old text or the new, never part of one. */
export function writeAtomically(path: string, text: string): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(`${path}.new`, text);
  renameSync(`${path}.new`, path);
}
