import type { Room } from "./qemu-args.js";

/** How much more than a zone starts with its machine has room for, unless more is asked for. */
const MEMORY_FACTOR = 4;
const VCPUS = 8;

/**
 * The room of a machine that starts with `now` and may get to `max`. Room costs a guest next to nothing, but is part of what its
 * template is: so that zones of one size have one template, it is the same for all but those that want more.
 */
export function machineRoom(now: Room, max: Room): Room {
  return {
    memoryBytes: atLeast(MEMORY_FACTOR * now.memoryBytes, max.memoryBytes),
    vcpus: atLeast(Math.max(VCPUS, now.vcpus), max.vcpus),
  };
}

/** `usual`, doubled until it is enough. */
function atLeast(usual: number, wanted: number): number {
  let room = usual;
  while (room < wanted) room *= 2;
  return room;
}
