import { isIP } from "node:net";
import type { ResourceLimit } from "@zone/native";
import type { zone } from "@zone/proto";
import { invalid } from "../errors.js";
import { LIMITS } from "../limits.js";
import { type CheckedMount, checkMount } from "../mount/check-mount.js";
import { exactInteger } from "../numbers.js";
import { type CapabilityMask, parseCapabilities } from "../process/capabilities.js";
import { parseRlimits } from "../process/rlimits.js";
import { checkId } from "../process/spec.js";
import { checkHostname } from "../system/hostname.js";
import { checkDevices, type DeviceSpec } from "./devices.js";
import { CONTAINER_LIMITS } from "./limits.js";
import { checkNamespaces, type NamespaceSpec, PRIVATE_NAMESPACES } from "./namespaces.js";
import { checkOciConfig, type OciConfig } from "./oci/config.js";
import { checkRootfs, type RootfsSpec } from "./rootfs-spec.js";
import { parseProfile, type SeccompProfile } from "./seccomp/profile.js";
import { checkSysctls, type SysctlSetting } from "./sysctls.js";

type Request = zone.agent.v1.CreateContainerRequest.$Properties;

/** Which system calls a container may make. */
export type SeccompChoice =
  | { kind: "default" }
  | { kind: "unconfined" }
  | { kind: "profile"; json: string; profile: SeccompProfile };

/** A CreateContainerRequest that has been checked, with its defaults filled in. */
export interface ContainerSpec extends ContainerNamesSpec {
  id: string;
  root: RootfsSpec;
  /** As they came: cgroup/resources.ts checks them where disks are known by their serials. */
  limits: zone.agent.v1.Resources.$Properties;
  mounts: readonly CheckedMount[];
  annotations: Readonly<Record<string, string>>;
  kind: { name: "own"; settings: OwnSettings } | { name: "oci"; config: OciConfig };
}

/** What /etc/hostname, hosts and resolv.conf of a container say. */
export interface ContainerNamesSpec {
  hostname: string;
  hosts: readonly { address: string; names: readonly string[] }[];
  nameservers: readonly string[];
  dnsSearches: readonly string[];
  dnsOptions: readonly string[];
}

/** What a container of the zone's own making has that an OCI bundle says itself. */
export interface OwnSettings {
  devices: readonly DeviceSpec[];
  namespaces: NamespaceSpec;
  seccomp: SeccompChoice;
  shmBytes: number;
  sysctls: readonly SysctlSetting[];
  /** Undefined: Docker's list, which PID 1 has. */
  maskedPaths: readonly string[] | undefined;
  readOnlyPaths: readonly string[] | undefined;
  noNewPrivileges: boolean;
  privileged: boolean;
  /** Of its processes that say nothing; undefined: the default set. */
  capabilities: CapabilityMask | undefined;
  rlimits: readonly ResourceLimit[];
}

/** Throws the INVALID_ARGUMENT reasons of container.proto, and SYSCTL_NOT_ALLOWED. */
export function checkContainer(request: Request): ContainerSpec {
  const id = request.id ?? "";
  checkId(id);
  const mounts = request.mounts ?? [];
  if (mounts.length > CONTAINER_LIMITS.mounts)
    throw invalid("INVALID_MOUNT", `${mounts.length} mounts; at most ${CONTAINER_LIMITS.mounts} are taken`);
  const common = {
    id,
    root: checkRootfs(request.rootfs ?? {}),
    limits: request.limits ?? {},
    mounts: mounts.map((mount) => checkMount(mount, "container")),
    hosts: checkHosts(request.hosts ?? []),
    nameservers: checkNameservers(request.nameservers ?? []),
    dnsSearches: checkDnsWords("dns_searches", request.dnsSearches ?? [], CONTAINER_LIMITS.dnsSearches, isDomain),
    dnsOptions: checkDnsWords("dns_options", request.dnsOptions ?? [], CONTAINER_LIMITS.dnsOptions, isDnsOption),
  };
  if (request.ociConfig && request.ociConfig.length > 0) {
    const config = checkOciConfig(request.ociConfig);
    // What uname(2) says in it is the bundle's business; this is what /etc/hosts says, and List.
    const hostname = (config.hostname || id).slice(0, LIMITS.hostnameBytes);
    return { ...common, hostname, annotations: config.annotations, kind: { name: "oci", config } };
  }
  const wanted = request.hostname ? checkHostname(request.hostname) : "";
  return {
    ...common,
    // An id may be a byte longer than a host name.
    hostname: wanted || id.slice(0, LIMITS.hostnameBytes),
    annotations: checkAnnotations(request.annotations ?? {}),
    kind: { name: "own", settings: checkOwn(request, id, wanted) },
  };
}

function checkOwn(request: Request, id: string, hostname: string): OwnSettings {
  const namespaces = request.namespaces ? checkNamespaces(request.namespaces, id, hostname) : PRIVATE_NAMESPACES;
  const shmBytes = exactInteger(request.shmBytes);
  if (shmBytes === undefined)
    throw invalid("INVALID_LIMIT", `shm_bytes is ${request.shmBytes}, which is larger than can be counted`);
  if (shmBytes !== 0 && namespaces.ipc === "container")
    throw invalid("INVALID_LIMIT", "shm_bytes: /dev/shm is the other container's, as its ipc namespace");
  return {
    devices: checkDevices(request.devices ?? []),
    namespaces,
    seccomp: checkSeccomp(request.seccomp ?? undefined),
    shmBytes: shmBytes || CONTAINER_LIMITS.shmBytes,
    sysctls: checkSysctls(request.sysctls ?? [], namespaces),
    maskedPaths: request.maskedPaths ? checkPaths("masked_paths", request.maskedPaths.paths ?? []) : undefined,
    readOnlyPaths: request.readOnlyPaths ? checkPaths("read_only_paths", request.readOnlyPaths.paths ?? []) : undefined,
    noNewPrivileges: request.noNewPrivileges ?? false,
    privileged: request.privileged ?? false,
    capabilities: request.capabilities ? parseCapabilities(request.capabilities.names ?? []) : undefined,
    rlimits: parseRlimits(request.rlimits ?? []),
  };
}

function checkSeccomp(seccomp: zone.agent.v1.Seccomp.$Properties | undefined): SeccompChoice {
  const profile = seccomp?.profile ?? new Uint8Array();
  if (seccomp?.unconfined) {
    if (profile.length > 0) throw invalid("INVALID_SECCOMP", "seccomp has a profile, and is unconfined: choose one");
    return { kind: "unconfined" };
  }
  if (profile.length === 0) return { kind: "default" };
  return { kind: "profile", json: Buffer.from(profile).toString("utf8"), profile: parseProfile(profile) };
}

function checkPaths(name: string, paths: readonly string[]): readonly string[] {
  if (paths.length > CONTAINER_LIMITS.paths)
    throw invalid("INVALID_MOUNT", `${name} has ${paths.length} paths; at most ${CONTAINER_LIMITS.paths} are taken`);
  for (const path of paths) {
    const good = path.startsWith("/") && !path.includes("\0") && Buffer.byteLength(path) <= LIMITS.pathBytes;
    if (!good || path.split("/").includes("..")) {
      throw invalid("INVALID_MOUNT", `${name}: "${path.slice(0, 80)}" is not an absolute path without ".."`);
    }
  }
  return paths;
}

function checkAnnotations(annotations: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  const entries = Object.entries(annotations);
  const bytes = entries.reduce((sum, [name, value]) => sum + Buffer.byteLength(name) + Buffer.byteLength(value), 0);
  const { annotations: most, annotationBytes } = CONTAINER_LIMITS;
  if (entries.length <= most && bytes <= annotationBytes) return { ...annotations };
  throw invalid(
    "INVALID_LIMIT",
    `${entries.length} annotations of ${bytes} bytes; at most ${most} of ${annotationBytes} are kept`,
  );
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

/** resolv.conf(5): words of a line, so nothing in them may end it. */
function checkDnsWords(
  name: string,
  words: readonly string[],
  most: number,
  good: (word: string) => boolean,
): readonly string[] {
  if (words.length > most) throw invalid("INVALID_HOSTNAME", `${name} has more than ${most} entries`);
  for (const word of words)
    if (!good(word)) throw invalid("INVALID_HOSTNAME", `${name}: "${word.slice(0, 64)}" is none`);
  return words;
}

/** A domain to search in, with "." for the root; labels with "_" exist. */
function isDomain(word: string): boolean {
  return word === "." || (word.length <= 253 && /^[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?$/.test(word));
}

function isDnsOption(word: string): boolean {
  return word.length <= CONTAINER_LIMITS.dnsOptionBytes && /^[a-z0-9-]+(:[0-9]+)?$/.test(word);
}
