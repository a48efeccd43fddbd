import { closeFd, dup, memfd } from "./descriptors.js";
import { encodeMessage, MAX_KEPT, SPAWN_CGROUP, SPAWN_KEPT_SHIFT, TYPE } from "./init-messages.js";
import type { SpawnDescriptors } from "./init-types.js";
import { encodeSpec } from "./spawn-spec.js";
import type { SpawnSpec } from "./spawn-types.js";

/** A packet on its way to PID 1, and its descriptors, which are ours to close once it is sent. */
export interface Packet {
  bytes: Buffer;
  fds: number[];
}

/** Linux's own: PID_MAX_LIMIT. */
const MAX_PID = 1 << 22;

/** The spec of a process that somebody else has specified. */
const NOBODY: SpawnSpec = {
  ...{ argv: [""], env: [], root: "", cwd: "/", hostname: "", meta: "" },
  ...{ uid: 0, gid: 0, groups: [], umask: 0, oomScoreAdj: 0, rlimits: [] },
  capabilities: { bounding: 0n, permitted: 0n, effective: 0n, inheritable: 0n, ambient: 0n },
};

/**
 * ZI_SPAWN. The packet owns `stdio`, and duplicates of the others, because it may have to wait, and the caller may close what
 * stays its own meanwhile. When this throws, `stdio` is still the caller's.
 */
export function spawnPacket(token: bigint, spec: SpawnSpec, fds: SpawnDescriptors): Packet {
  const { cgroup, kept, stdio } = fds;
  const { specFd, rest } = owned(spec, kept, cgroup === undefined ? [] : [cgroup]);
  const flags = (cgroup === undefined ? 0 : SPAWN_CGROUP) | (kept.length << SPAWN_KEPT_SHIFT);
  return { bytes: encodeMessage({ type: TYPE.spawn, token, flags }), fds: [specFd, ...stdio, ...rest] };
}

/** ZI_ADOPT. The packet owns duplicates of `kept`. */
export function adoptPacket(token: bigint, pid: number, { meta, kept }: { meta: string; kept: number[] }): Packet {
  if (!Number.isInteger(pid) || pid < 1 || pid > MAX_PID) throw new RangeError(`${pid} is no pid`);
  const { specFd, rest } = owned({ ...NOBODY, meta }, kept, []);
  const flags = kept.length << SPAWN_KEPT_SHIFT;
  return { bytes: encodeMessage({ type: TYPE.adopt, token, flags, pid }), fds: [specFd, ...rest] };
}

/** The spec in a memfd, and duplicates of `first` and `kept`. Leaves nothing open when it throws. */
function owned(spec: SpawnSpec, kept: number[], first: number[]): { specFd: number; rest: number[] } {
  if (kept.length > MAX_KEPT) throw new RangeError(`PID 1 keeps at most ${MAX_KEPT} descriptors of a process`);
  const owned: number[] = [];
  const own = (fd: number) => {
    owned.push(fd);
    return fd;
  };
  try {
    return { specFd: own(memfd("zone-spec", encodeSpec(spec))), rest: [...first, ...kept].map((fd) => own(dup(fd))) };
  } catch (error) {
    for (const fd of owned) closeFd(fd);
    throw error;
  }
}
