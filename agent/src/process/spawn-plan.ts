import { closeSync, constants, openSync } from "node:fs";
import type { NamespaceChoice, ResourceLimit, SpawnSpec } from "@zone/native";
import type { Container } from "../container/container.js";
import type { SeccompFilters } from "../container/seccomp/filter.js";
import { LIMITS } from "../limits.js";
import { readInRoot } from "../root-files.js";
import {
  ALL_CAPABILITIES,
  type CapabilityMask,
  capabilitySets,
  DEFAULT_CAPABILITIES,
  knownCapabilities,
} from "./capabilities.js";
import { environment } from "./environment.js";
import type { ProcessSpec } from "./spec.js";
import { resolveUser, type User } from "./user.js";

/** Where a process runs. */
export type Place =
  | { kind: "zone" }
  /** `namespaces` undefined: all its own. */
  | { kind: "init"; container: Container; namespaces: NamespaceChoice | undefined }
  | { kind: "join"; container: Container; init: bigint };

/** The user of `spec` by the account files of the place's root; throws as resolveUser does. */
export function userIn(place: Place, spec: ProcessSpec): User {
  const root = place.kind === "zone" ? "/" : place.container.rootfs;
  const bundle = place.kind === "zone" ? undefined : place.container.config?.process;
  const { user, groups } =
    bundle && spec.user === ""
      ? { user: `${bundle.user.uid}:${bundle.user.gid}`, groups: bundle.user.additionalGids.map(String) }
      : { user: spec.user, groups: [] };
  const rootFd = openSync(root, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    return resolveUser(user, [...groups, ...spec.additionalGroups], {
      passwd: () => readInRoot(rootFd, "/etc/passwd", LIMITS.accountFileBytes),
      group: () => readInRoot(rootFd, "/etc/group", LIMITS.accountFileBytes),
    });
  } finally {
    closeSync(rootFd);
  }
}

/** What PID 1 is asked to make. Throws INVALID_SECCOMP. */
export function spawnPlan(
  spec: ProcessSpec,
  place: Place,
  user: User,
  meta: string,
  filters: SeccompFilters,
): SpawnSpec {
  const container = place.kind === "zone" ? undefined : place.container;
  const bundle = container?.config?.process;
  const capabilities = capabilitiesOf(spec, container);
  const profile = spec.privileged ? undefined : (container?.profile ?? bundle?.seccomp);
  const filter = profile && filters.get(profile, capabilities);
  const restrained = spec.noNewPrivileges || container?.noNewPrivileges || bundle?.noNewPrivileges || false;
  const theirs = bundle?.env.map((entry) => Buffer.from(entry)) ?? [];
  return {
    ...(place.kind === "init" ? initPart(place.container, place.namespaces, spec) : { root: "", hostname: "" }),
    ...(place.kind === "join" ? { join: place.init } : {}),
    ...(filter ? { seccomp: filter.program, seccompFlags: filter.flags } : {}),
    tty: spec.tty !== undefined,
    noNewPrivileges: restrained && !spec.privileged,
    uid: user.uid,
    gid: user.gid,
    groups: user.groups,
    umask: spec.umask,
    oomScoreAdj: spec.oomScoreAdj,
    rlimits: rlimitsOf(spec, container),
    capabilities: capabilitySets(capabilities, user.uid),
    argv: spec.argv,
    env: environment([...theirs, ...spec.env], user.home),
    cwd: spec.cwd,
    meta,
  };
}

function initPart(
  container: Container,
  namespaces: NamespaceChoice | undefined,
  { reaper }: ProcessSpec,
): Pick<SpawnSpec, "root" | "hostname"> & Partial<SpawnSpec> {
  const { rootfs, hostname, readOnly, privileged, maskedPaths, readOnlyPaths } = container;
  return {
    newContainer: true,
    reaper,
    readonlyRoot: readOnly,
    privileged,
    root: rootfs,
    // A name is of a uts namespace of its own.
    hostname: container.namespaces.uts === "private" ? hostname : "",
    ...(namespaces ? { namespaces } : {}),
    ...(maskedPaths ? { maskedPaths } : {}),
    ...(readOnlyPaths ? { readonlyPaths: readOnlyPaths } : {}),
  };
}

function capabilitiesOf(spec: ProcessSpec, container: Container | undefined): CapabilityMask {
  if (spec.privileged) return ALL_CAPABILITIES;
  if (spec.capabilities !== undefined) return spec.capabilities;
  if (container?.capabilities !== undefined) return BigInt(container.capabilities);
  if (!container || container.privileged) return ALL_CAPABILITIES;
  const bundle = container.config?.process;
  return bundle ? knownCapabilities(bundle.capabilities ?? []) : DEFAULT_CAPABILITIES;
}

/** The process's own, and the container's where it says nothing. */
function rlimitsOf(spec: ProcessSpec, container: Container | undefined): readonly ResourceLimit[] {
  const own = new Set(spec.rlimits.map(({ resource }) => resource));
  const others = (container?.rlimits ?? []).filter(({ resource }) => !own.has(resource));
  return [
    ...spec.rlimits,
    ...others.map(({ resource, soft, hard }) => ({ resource, soft: BigInt(soft), hard: BigInt(hard) })),
  ];
}
