/** What the kernel, PID 1 and the agent keep of a zone's memory for themselves: zi_memory_reserve of zone_init.h. */
function memoryReserve(totalBytes: number): number {
  return Math.min((64 << 20) + Math.floor(totalBytes / 32), Math.floor(totalBytes / 2));
}

/**
 * memory.max of the cgroup `zone`, in bytes, when the zone has `totalBytes` (MemTotal of /proc/meminfo). PID 1 has set it for what
 * there was at boot; who adds memory, or takes some away, sets it again by this.
 */
export function zoneMemoryMax(totalBytes: number): number {
  return totalBytes - memoryReserve(totalBytes);
}
