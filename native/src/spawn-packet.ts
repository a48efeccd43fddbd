import { closeFd, dup, memfd } from "./descriptors.js";
import { encodeMessage, MAX_KEPT, SPAWN_CGROUP, SPAWN_KEPT_SHIFT, TYPE } from "./init-messages.js";
import type { SpawnDescriptors } from "./init-types.js";
import { encodeSpec, type SpawnSpec } from "./spawn-spec.js";

/** A packet on its way to PID 1, and its descriptors, which are ours to close once it is sent. */
export interface Packet {
  bytes: Buffer;
  fds: number[];
}

/**
 * ZI_SPAWN. The packet owns `stdio`, and duplicates of the others, because it may have to wait, and the caller may close what
 * stays its own meanwhile. When this throws, `stdio` is still the caller's.
 */
export function spawnPacket(token: bigint, spec: SpawnSpec, fds: SpawnDescriptors): Packet {
  if (fds.kept.length > MAX_KEPT) throw new RangeError(`PID 1 keeps at most ${MAX_KEPT} descriptors of a process`);
  const owned: number[] = [];
  const own = (fd: number) => {
    owned.push(fd);
    return fd;
  };
  try {
    const specFd = own(memfd("zone-spec", encodeSpec(spec)));
    const rest = (fds.cgroup === undefined ? fds.kept : [fds.cgroup, ...fds.kept]).map((fd) => own(dup(fd)));
    const flags = (fds.cgroup === undefined ? 0 : SPAWN_CGROUP) | (fds.kept.length << SPAWN_KEPT_SHIFT);
    return { bytes: encodeMessage({ type: TYPE.spawn, token, flags }), fds: [specFd, ...fds.stdio, ...rest] };
  } catch (error) {
    for (const fd of owned) closeFd(fd);
    throw error;
  }
}
