import { CAPABILITY_SETS, INSTRUCTION_BYTES, MAX_JOINS } from "./spawn-layout.js";
import {
  CONTAINER_NAMESPACES,
  MAX_FILTER_INSTRUCTIONS,
  MAX_GROUPS,
  MAX_PATHS,
  MAX_RLIMITS,
  type Namespace,
  type NamespaceJoin,
  SECCOMP_FLAG,
  type SpawnSpec,
  UNLIMITED,
} from "./spawn-types.js";

/** (uid_t)-1, which means "leave it" to setresuid(2), so it cannot be one. */
const NO_ID = 0xffff_ffff;
const SECCOMP_FLAGS = SECCOMP_FLAG.LOG | SECCOMP_FLAG.SPEC_ALLOW;

/** The namespaces of a spec, the default filled in. */
export function namespacesOf(spec: SpawnSpec): { create: readonly Namespace[]; joins: readonly NamespaceJoin[] } {
  const { namespaces } = spec;
  if (!namespaces) return { create: spec.newContainer ? CONTAINER_NAMESPACES : [], joins: [] };
  const { create, join } = namespaces;
  if (join === undefined) return { create, joins: [] };
  return { create, joins: "token" in join ? [join] : join };
}

/** What the kernel's types hold, and what PID 1 accepts. Throws RangeError, naming the member. */
export function checkSpec(spec: SpawnSpec): void {
  whole("uid", spec.uid, 0, NO_ID - 1);
  whole("gid", spec.gid, 0, NO_ID - 1);
  whole("umask", spec.umask, 0, 0o777);
  whole("oomScoreAdj", spec.oomScoreAdj, -1000, 1000);
  whole("number of groups", spec.groups.length, 0, MAX_GROUPS);
  whole("number of rlimits", spec.rlimits.length, 0, MAX_RLIMITS);
  for (const group of spec.groups) whole("group", group, 0, NO_ID - 1);
  for (const limit of spec.rlimits) {
    whole("resource of an rlimit", limit.resource, 0, MAX_RLIMITS);
    wide("soft limit", limit.soft);
    wide("hard limit", limit.hard);
  }
  for (const name of CAPABILITY_SETS) wide(`capabilities.${name}`, spec.capabilities[name]);
  if (spec.argv.length === 0) throw new RangeError("argv is empty; it must hold the program's name");
  if (!spec.cwd.startsWith("/")) throw new RangeError(`cwd is ${JSON.stringify(spec.cwd)}; it must be absolute`);
  checkFilter(spec);
  checkNamespaces(spec);
  checkContainer(spec);
}

function checkFilter({ seccomp, seccompFlags }: SpawnSpec): void {
  const flags = seccompFlags ?? 0;
  if (flags & ~SECCOMP_FLAGS) throw new RangeError(`seccompFlags is ${flags}; LOG and SPEC_ALLOW are known`);
  if (seccomp === undefined) {
    if (flags !== 0) throw new RangeError("seccompFlags without a seccomp filter");
    return;
  }
  if (seccomp.length % INSTRUCTION_BYTES !== 0)
    throw new RangeError(`the seccomp filter has ${seccomp.length} bytes; an instruction has ${INSTRUCTION_BYTES}`);
  whole("number of the seccomp filter's instructions", seccomp.length / INSTRUCTION_BYTES, 1, MAX_FILTER_INSTRUCTIONS);
}

function checkNamespaces(spec: SpawnSpec): void {
  const { create, joins } = namespacesOf(spec);
  const seen = new Set<Namespace>();
  for (const name of [...create, ...joins.flatMap(({ which }) => which)]) {
    if (seen.has(name)) throw new RangeError(`the ${name} namespace is named twice`);
    seen.add(name);
  }
  if (joins.length > MAX_JOINS)
    throw new RangeError(`namespaces of ${joins.length} processes; ${MAX_JOINS} are allowed`);
  for (const { token, which } of joins) {
    wide("namespaces.join.token", token);
    if (which.length === 0) throw new RangeError("namespaces.join names none");
  }
  if (spec.join === undefined) return;
  wide("join", spec.join);
  if (spec.newContainer) throw new RangeError("newContainer and join exclude each other");
  if (seen.size > 0) throw new RangeError("namespaces and join exclude each other");
}

function checkContainer(spec: SpawnSpec): void {
  const { create } = namespacesOf(spec);
  for (const [name, paths] of [
    ["maskedPaths", spec.maskedPaths],
    ["readonlyPaths", spec.readonlyPaths],
  ] as const) {
    whole(`number of ${name}`, paths?.length ?? 0, 0, MAX_PATHS);
    for (const path of paths ?? [])
      if (!path.startsWith("/")) throw new RangeError(`${name}: ${path} must be absolute`);
  }
  if (spec.hostname && !create.includes("uts"))
    throw new RangeError("hostname applies to a new uts namespace, which a new container has by default");
  if (spec.newContainer) {
    if (!spec.root.startsWith("/")) throw new RangeError("root must be absolute for a new container");
    if (!create.includes("mount")) throw new RangeError("a new container needs a mount namespace of its own");
  } else if (spec.root || spec.readonlyRoot || spec.privileged || spec.maskedPaths || spec.readonlyPaths) {
    throw new RangeError("root, readonlyRoot, privileged, masked and read-only paths apply to a new container alone");
  }
}

function whole(name: string, value: number, low: number, high: number): void {
  if (!Number.isInteger(value) || value < low || value > high)
    throw new RangeError(`${name} is ${value}; it must be a whole number from ${low} to ${high}`);
}

function wide(name: string, value: bigint): void {
  if (value < 0n || value > UNLIMITED) throw new RangeError(`${name} is ${value}; it must be from 0 to 2^64 - 1`);
}
