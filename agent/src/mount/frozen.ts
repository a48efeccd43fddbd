/**
 * Device numbers (stat(2) st_dev) of the file systems that Mount.Freeze holds frozen, from before each freeze to after its
 * thaw. One list for all of the agent: it is the zone's kernel that is frozen or not, and whoever changes a file asks here first.
 */
const devices: bigint[] = [];

export function markFrozen(device: bigint): void {
  devices.push(device);
}

/** Undoes one markFrozen(). */
export function unmarkFrozen(device: bigint): void {
  const at = devices.indexOf(device);
  if (at >= 0) devices.splice(at, 1);
}

/** `device` is asked for only when anything is frozen. A change there would block the thread that makes it. */
export function isFrozen(device: () => bigint): boolean {
  return devices.length > 0 && devices.includes(device());
}
