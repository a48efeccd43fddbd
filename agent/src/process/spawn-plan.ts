import { closeSync, constants, openSync } from "node:fs";
import type { SpawnSpec } from "@zone/native";
import { LIMITS } from "../limits.js";
import { readInRoot } from "../root-files.js";
import { ALL_CAPABILITIES, capabilitySets, DEFAULT_CAPABILITIES } from "./capabilities.js";
import { environment } from "./environment.js";
import type { ProcessSpec } from "./spec.js";
import { resolveUser, type User } from "./user.js";

/** Where a process runs. */
export type Place =
  | { kind: "zone" }
  | { kind: "init"; rootfs: string; hostname: string; readOnly: boolean }
  | { kind: "join"; rootfs: string; init: bigint };

/** The user of `spec` by the account files of the place's root; throws as resolveUser does. */
export function userIn(place: Place, spec: ProcessSpec): User {
  const rootFd = openSync(place.kind === "zone" ? "/" : place.rootfs, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    return resolveUser(spec.user, spec.additionalGroups, {
      passwd: () => readInRoot(rootFd, "/etc/passwd", LIMITS.accountFileBytes),
      group: () => readInRoot(rootFd, "/etc/group", LIMITS.accountFileBytes),
    });
  } finally {
    closeSync(rootFd);
  }
}

/** What PID 1 is asked to make. */
export function spawnPlan(spec: ProcessSpec, place: Place, user: User, meta: string): SpawnSpec {
  const capabilities = spec.capabilities ?? (place.kind === "zone" ? ALL_CAPABILITIES : DEFAULT_CAPABILITIES);
  const init = place.kind === "init";
  return {
    newContainer: init,
    join: place.kind === "join" ? place.init : undefined,
    readonlyRoot: init && place.readOnly,
    root: init ? place.rootfs : "",
    hostname: init ? place.hostname : "",
    tty: spec.tty !== undefined,
    noNewPrivileges: spec.noNewPrivileges,
    uid: user.uid,
    gid: user.gid,
    groups: user.groups,
    umask: spec.umask,
    oomScoreAdj: spec.oomScoreAdj,
    rlimits: spec.rlimits,
    capabilities: capabilitySets(capabilities, user.uid),
    argv: spec.argv,
    env: environment(spec.env, user.home),
    cwd: spec.cwd,
    meta,
  };
}
