import { existsSync, readFileSync, renameSync } from "node:fs";
import { join } from "node:path";
import type { zone } from "@zone/proto";
import { writeAtomically } from "../system/identity.js";
import type { DeviceNumber } from "./devices.js";
import { type NamespaceSpec, PRIVATE_NAMESPACES } from "./namespaces.js";
import { checkOciConfig, type OciConfig } from "./oci/config.js";
import { formatExactJson } from "./oci/exact-json.js";
import type { ContainerSpec } from "./request.js";
import { DEFAULT_PROFILE } from "./seccomp/default-profile.js";
import { parseProfile, type SeccompProfile } from "./seccomp/profile.js";

/**
 * What is kept of a container in its folder, for an agent that is started again:
 *
 *     BASE/state.json     ContainerState; written last, so a folder without it is half made
 *     BASE/seccomp.json   the profile that it was made with, if one was given
 *     BASE/oci.json       the bundle's config as it came, for a container of one
 *     BASE/live           renamed to "stopped" when its init has ended once: the container can have filled BASE, which is also
 *                         its writable layer, and a rename needs no room in it
 */
export interface ContainerState {
  id: string;
  hostname: string;
  readOnly: boolean;
  /** Milliseconds since 1970. */
  createdAt: number;
  annotations: Readonly<Record<string, string>>;
  /** Whether what it writes is in a layer of its own. */
  layered: boolean;
  namespaces: NamespaceSpec;
  /** Whether its ipc namespace is held by a process of the agent's, because of its sysctls. */
  ipcHeld: boolean;
  seccomp: "default" | "unconfined" | "profile";
  maskedPaths?: readonly string[];
  readOnlyPaths?: readonly string[];
  noNewPrivileges: boolean;
  privileged: boolean;
  /** As numbers in text: JSON has none so large. Undefined: the default set. */
  capabilities?: string;
  rlimits: readonly { resource: number; soft: string; hard: string }[];
  oci: boolean;
  /** Its cgroup may have to be made again: crun, for one, removes a bundle's when it fails. */
  limits?: zone.agent.v1.Resources.$Properties;
  /** That it may use beside those that every container may; none of a privileged one, which may use all. */
  devices: readonly DeviceNumber[];
}

/** The state of a container that is made now. */
export function newState(spec: ContainerSpec, createdAt: number): ContainerState {
  const { id, hostname, annotations, root, kind } = spec;
  const common = {
    ...{ id, hostname, annotations, createdAt, limits: spec.limits, devices: [] },
    readOnly: root.readOnly || (kind.name === "oci" && kind.config.readOnly),
    layered: !(root.source.kind === "mount" && root.source.direct) && !root.readOnly,
  };
  if (kind.name === "oci") {
    const unused = {
      namespaces: PRIVATE_NAMESPACES,
      ipcHeld: false,
      noNewPrivileges: false,
      privileged: false,
      rlimits: [],
    };
    return { ...common, ...unused, seccomp: "default", oci: true };
  }
  const { settings } = kind;
  return {
    ...common,
    namespaces: settings.namespaces,
    ipcHeld: settings.namespaces.ipc === "private" && settings.sysctls.some(({ scope }) => scope === "ipc"),
    seccomp: settings.privileged && settings.seccomp.kind === "default" ? "unconfined" : settings.seccomp.kind,
    ...(settings.maskedPaths ? { maskedPaths: settings.maskedPaths } : {}),
    ...(settings.readOnlyPaths ? { readOnlyPaths: settings.readOnlyPaths } : {}),
    noNewPrivileges: settings.noNewPrivileges,
    privileged: settings.privileged,
    ...(settings.capabilities === undefined ? {} : { capabilities: String(settings.capabilities) }),
    rlimits: settings.rlimits.map(({ resource, soft, hard }) => ({ resource, soft: String(soft), hard: String(hard) })),
    oci: false,
  };
}

/** The files of a container's folder that say what it is, by name; the one that makes it whole comes last. */
export function stateFiles(spec: ContainerSpec, state: ContainerState): Record<string, string> {
  const files: Record<string, string> = {};
  if (spec.kind.name === "oci") files["oci.json"] = formatExactJson(spec.kind.config.json);
  else if (spec.kind.settings.seccomp.kind === "profile") files["seccomp.json"] = spec.kind.settings.seccomp.json;
  files.live = "";
  files["state.json"] = JSON.stringify(state);
  return files;
}

const PAGE = 4096;
/** Files of crun's, and of names. */
const OWN_FILES_BYTES = 128 * 1024;

/** What those files, and others of the agent's, take beside a writable layer; none that counts for most containers. */
export function stateBytes(files: Readonly<Record<string, string>>): number {
  const pages = Object.values(files).reduce((sum, text) => sum + Math.ceil(Buffer.byteLength(text) / PAGE), 0);
  // A bundle's config is there twice: as it came, and as crun gets it.
  return pages <= 1 ? 0 : 2 * pages * PAGE + OWN_FILES_BYTES;
}

export function writeState(base: string, files: Readonly<Record<string, string>>): void {
  for (const [name, text] of Object.entries(files)) writeAtomically(join(base, name), text);
}

/** A container as its folder has it. */
export interface KeptContainer {
  state: ContainerState;
  /** Undefined: no filter, or a bundle's. */
  seccomp: SeccompProfile | undefined;
  oci: OciConfig | undefined;
  stopped: boolean;
}

/** The same of one that is made now. */
export function keptNow({ kind }: ContainerSpec, state: ContainerState): KeptContainer {
  if (kind.name === "oci") return { state, seccomp: undefined, oci: kind.config, stopped: false };
  const { seccomp } = kind.settings;
  const profile =
    state.seccomp === "unconfined" ? undefined : seccomp.kind === "profile" ? seccomp.profile : DEFAULT_PROFILE;
  return { state, seccomp: profile, oci: undefined, stopped: false };
}

/** Undefined when the folder is half made. */
export function readState(base: string): KeptContainer | undefined {
  const file = join(base, "state.json");
  if (!existsSync(file)) return undefined;
  const state = JSON.parse(readFileSync(file, "utf8")) as ContainerState;
  const oci = state.oci ? checkOciConfig(readFileSync(join(base, "oci.json"))) : undefined;
  return { state, seccomp: seccompOf(state, base), oci, stopped: existsSync(stoppedFile(base)) };
}

function seccompOf({ seccomp, oci }: ContainerState, base: string): SeccompProfile | undefined {
  if (oci || seccomp === "unconfined") return undefined;
  return seccomp === "default" ? DEFAULT_PROFILE : parseProfile(readFileSync(join(base, "seccomp.json")));
}

/** Its init has ended. */
export function markStopped(base: string): void {
  renameSync(join(base, "live"), stoppedFile(base));
}

function stoppedFile(base: string): string {
  return join(base, "stopped");
}
