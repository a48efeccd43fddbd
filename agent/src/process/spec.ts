import type { ResourceLimit } from "@zone/native";
import type { zone } from "@zone/proto";
import { agentError, invalid } from "../errors.js";
import { LIMITS } from "../limits.js";
import { type CapabilityMask, parseCapabilities } from "./capabilities.js";
import { checkEnvironment } from "./environment.js";
import type { OutputPolicy } from "./output-buffer.js";
import { parseRlimits } from "./rlimits.js";
import { splitUserSpec } from "./user.js";

export interface WindowSize {
  rows: number;
  columns: number;
}

/** A ProcessSpec that has been checked, with its defaults filled in. */
export interface ProcessSpec {
  /** Empty: to be chosen. */
  id: string;
  containerId: string;
  init: boolean;
  argv: readonly Uint8Array[];
  env: readonly Uint8Array[];
  cwd: string;
  user: string;
  additionalGroups: readonly string[];
  rlimits: readonly ResourceLimit[];
  /** Undefined: the default of where it runs. */
  capabilities: CapabilityMask | undefined;
  noNewPrivileges: boolean;
  /** Undefined: pipes. */
  tty: WindowSize | undefined;
  stdin: boolean;
  outputBufferBytes: number;
  outputPolicy: OutputPolicy;
  drainGraceMs: number;
  oomScoreAdj: number;
  umask: number;
  /** Of a process of the zone itself; empty: the zone's. */
  cgroup: string;
  /** A small init of ours stands before it. */
  reaper: boolean;
  /** All capabilities, no seccomp, no no_new_privs. */
  privileged: boolean;
}

const ID = /^[A-Za-z0-9][A-Za-z0-9_.-]*$/;

/** Throws INVALID_ID unless `id` is one: a process's or a container's. */
export function checkId(id: string): void {
  if (!ID.test(id) || id.length > LIMITS.idLength) {
    throw invalid("INVALID_ID", `"${id.slice(0, LIMITS.idLength)}" is not an id: [A-Za-z0-9][A-Za-z0-9_.-]{0,63}`);
  }
}

/** Throws INVALID_SIZE unless it is a window's size: 1 to 65535 each way. */
export function checkWindowSize(size: zone.agent.v1.WindowSize.$Properties): WindowSize {
  return {
    rows: inRange("rows", size.rows ?? 0, 1, 65_535),
    columns: inRange("columns", size.columns ?? 0, 1, 65_535),
  };
}

/**
 * Checks a spec as it came; throws the INVALID_ARGUMENT reasons of process.proto. `isBundle` tells of a container whether it is
 * of an OCI bundle: what its init executes is the bundle's to say, and argv is not needed.
 */
export function checkSpec(
  spec: zone.agent.v1.ProcessSpec.$Properties,
  isBundle: (containerId: string) => boolean = () => false,
): ProcessSpec {
  const id = spec.id ?? "";
  const containerId = spec.containerId ?? "";
  if (id !== "") checkId(id);
  if (containerId !== "") checkId(containerId);
  const init = spec.init ?? false;
  if (init && containerId === "")
    throw invalid("INVALID_ID", "`init` needs a container_id: the zone itself has its init");

  const cgroup = spec.cgroup ?? "";
  if (cgroup !== "" && containerId !== "")
    throw invalid("INVALID_ID", "`cgroup` is of a process of the zone itself: a container has its own");
  const reaper = spec.reaper ?? false;
  if (reaper && !init) throw invalid("INVALID_ID", "`reaper` needs `init`: others have their container's init");

  const bundled = init && isBundle(containerId);
  const argv = bundled ? [] : (spec.argv ?? []);
  const env = bundled ? [] : (spec.env ?? []);
  if (!bundled) checkArguments(argv, env);
  checkEnvironment(env);
  const user = spec.user ?? "";
  splitUserSpec(user);
  const additionalGroups = spec.additionalGroups ?? [];
  if (additionalGroups.length > LIMITS.additionalGroups) {
    throw invalid("INVALID_USER_SPEC", `more than ${LIMITS.additionalGroups} additional groups`);
  }
  for (const group of additionalGroups) {
    if (group === "" || splitUserSpec(group).length > 1)
      throw invalid("INVALID_USER_SPEC", `"${group}" is not a group`);
  }
  const { min, max, default: usual } = LIMITS.outputBufferBytes;
  return {
    ...{ id, containerId, init, argv, env, user, additionalGroups, cgroup, reaper },
    privileged: spec.privileged ?? false,
    cwd: checkCwd(spec.cwd ?? ""),
    rlimits: parseRlimits(spec.rlimits ?? []),
    capabilities: spec.capabilities ? parseCapabilities(spec.capabilities.names ?? []) : undefined,
    noNewPrivileges: spec.noNewPrivileges ?? false,
    tty: spec.tty ? checkWindowSize(spec.tty) : undefined,
    stdin: spec.stdin ?? false,
    outputBufferBytes: inRange("output_buffer_bytes", spec.outputBufferBytes || usual, min, max),
    outputPolicy: checkPolicy(spec.outputPolicy ?? 0),
    drainGraceMs: inRange(
      "drain_grace_ms",
      spec.drainGraceMs || LIMITS.drainGraceMs.default,
      1,
      LIMITS.drainGraceMs.max,
    ),
    oomScoreAdj: inRange("oom_score_adj", spec.oomScoreAdj ?? 0, -1000, 1000),
    umask: inRange("umask", spec.umask || 0o022, 0, 0o777),
  };
}

function checkArguments(argv: readonly Uint8Array[], env: readonly Uint8Array[]): void {
  if (argv.length === 0 || argv[0]?.length === 0) throw invalid("ARGV_EMPTY", "argv is empty: there is nothing to run");
  let bytes = 0;
  for (const argument of argv) {
    if (argument.includes(0)) throw invalid("INVALID_ARGV", "an argument holds a NUL byte");
    bytes += argument.length + 1;
  }
  for (const entry of env) bytes += entry.length + 1;
  if (bytes > LIMITS.argumentBytes || argv.length + env.length > LIMITS.argumentCount) {
    throw invalid("SPEC_TOO_LARGE", `argv and env are ${bytes} bytes; at most ${LIMITS.argumentBytes} are allowed`);
  }
}

function checkCwd(cwd: string): string {
  if (cwd === "") return "/";
  if (!cwd.startsWith("/") || cwd.includes("\0") || Buffer.byteLength(cwd) > LIMITS.pathBytes) {
    throw agentError("NOT_FOUND", "CWD_NOT_FOUND", "cwd is not an absolute path");
  }
  return cwd;
}

/** OutputPolicy of process.proto: 0 and 1 are BLOCK, 2 is DROP. */
function checkPolicy(policy: number): OutputPolicy {
  return inRange("output_policy", policy, 0, 2) === 2 ? "drop" : "block";
}

function inRange(name: string, value: number, min: number, max: number): number {
  if (Number.isInteger(value) && value >= min && value <= max) return value;
  throw invalid("INVALID_SIZE", `${name} is ${value}; it must be ${min} to ${max}`);
}
