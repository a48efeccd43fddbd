import { isIP } from "node:net";
import type { zone } from "@zone/proto";
import { invalid } from "../errors.js";
import { LIMITS } from "../limits.js";
import { exactInteger } from "../numbers.js";
import { checkId } from "../process/spec.js";
import { checkHostname } from "../system/hostname.js";

/** A CreateContainerRequest that has been checked, with its defaults filled in. */
export interface ContainerSpec {
  id: string;
  hostname: string;
  blockSerial: string;
  fsType: "erofs" | "squashfs";
  waitMs: number;
  readOnly: boolean;
  /** Undefined: half of the zone's memory. */
  writableBytes: number | undefined;
  limits: CgroupLimits;
  hosts: readonly { address: string; names: readonly string[] }[];
  nameservers: readonly string[];
}

/** Undefined: no limit. */
export interface CgroupLimits {
  cpuMillis: number | undefined;
  memoryBytes: number | undefined;
  pids: number | undefined;
}

/** Throws the INVALID_ARGUMENT reasons of container.proto. */
export function checkContainer(request: zone.agent.v1.CreateContainerRequest.$Properties): ContainerSpec {
  const id = request.id ?? "";
  checkId(id);
  return {
    id,
    // An id may be a byte longer than a host name.
    hostname: request.hostname ? checkHostname(request.hostname) : id.slice(0, LIMITS.hostnameBytes),
    ...checkRootfs(request.rootfs ?? {}),
    limits: checkLimits(request.limits ?? {}),
    hosts: checkHosts(request.hosts ?? []),
    nameservers: checkNameservers(request.nameservers ?? []),
  };
}

type Rootfs = Pick<ContainerSpec, "blockSerial" | "fsType" | "waitMs" | "readOnly" | "writableBytes">;

function checkRootfs(rootfs: zone.agent.v1.Rootfs.$Properties): Rootfs {
  const blockSerial = rootfs.blockSerial ?? "";
  if (!/^[!-~]+$/.test(blockSerial) || blockSerial.length > LIMITS.blockSerialBytes) {
    throw invalid("INVALID_ROOTFS", `block_serial must be 1 to ${LIMITS.blockSerialBytes} printable ASCII characters`);
  }
  const { fsType } = rootfs;
  if (fsType !== "erofs" && fsType !== "squashfs") {
    throw invalid("INVALID_ROOTFS", `fs_type is "${fsType?.slice(0, 40) ?? ""}"; it must be "erofs" or "squashfs"`);
  }
  const waitMs = rootfs.waitMs || LIMITS.deviceWaitMs.default;
  if (waitMs > LIMITS.deviceWaitMs.max) {
    throw invalid("INVALID_ROOTFS", `wait_ms is ${waitMs}; at most ${LIMITS.deviceWaitMs.max} are allowed`);
  }
  const writableBytes = limit("INVALID_ROOTFS", "writable_bytes", rootfs.writableBytes);
  if (writableBytes !== undefined && writableBytes < LIMITS.writableBytesMin) {
    throw invalid(
      "INVALID_ROOTFS",
      `writable_bytes is ${writableBytes}; at least ${LIMITS.writableBytesMin} are needed`,
    );
  }
  return { blockSerial, fsType, waitMs, readOnly: rootfs.readOnly ?? false, writableBytes };
}

function checkLimits(limits: zone.agent.v1.Resources.$Properties): CgroupLimits {
  return {
    cpuMillis: limit("INVALID_LIMIT", "cpu_millis", limits.cpuMillis),
    memoryBytes: limit("INVALID_LIMIT", "memory_bytes", limits.memoryBytes),
    pids: limit("INVALID_LIMIT", "pids", limits.pids),
  };
}

/** 0 is undefined: no limit. */
function limit(reason: string, name: string, field: number | null | undefined): number | undefined {
  const value = exactInteger(field);
  if (value === undefined) throw invalid(reason, `${name} is ${field}, which is larger than can be counted`);
  return value === 0 ? undefined : value;
}

function checkHosts(entries: readonly zone.agent.v1.HostEntry.$Properties[]): ContainerSpec["hosts"] {
  if (entries.length > LIMITS.hostEntries) throw invalid("INVALID_HOSTNAME", `more than ${LIMITS.hostEntries} hosts`);
  return entries.map((entry) => {
    const names = entry.names ?? [];
    if (names.length === 0) throw invalid("INVALID_HOSTNAME", "a host entry has no names");
    return { address: checkAddress(entry.address ?? ""), names: names.map(checkHostname) };
  });
}

function checkNameservers(addresses: readonly string[]): string[] {
  if (addresses.length > LIMITS.nameservers)
    throw invalid("INVALID_HOSTNAME", `more than ${LIMITS.nameservers} nameservers`);
  return addresses.map(checkAddress);
}

function checkAddress(address: string): string {
  if (isIP(address) !== 0) return address;
  throw invalid("INVALID_HOSTNAME", `"${address.slice(0, 64)}" is not an IP address`);
}
