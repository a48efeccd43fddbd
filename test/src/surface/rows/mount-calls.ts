import type { zone } from "@zone/proto";
import type { SurfaceZone } from "../row.js";

type MountSpec = zone.agent.v1.MountSpec.$Properties;

/** Mounts for one case, in "main" unless the container is "" (the zone); unmounts with what is below it. */
export async function withMount(
  zone: SurfaceZone,
  mount: MountSpec & { target: string },
  use: () => Promise<void>,
  containerId = "main",
): Promise<void> {
  const { target } = mount;
  await zone.bridge.mount.mount({ containerId, mount }, zone.in());
  try {
    await use();
  } finally {
    await zone.bridge.mount.unmount({ containerId, target, recursive: true }, zone.in());
  }
}

/** What the kernel says of the mount at `target`, the uppermost when there are several. */
export async function mountInfo(zone: SurfaceZone, target: string, containerId = "main") {
  const { mounts } = await zone.bridge.mount.list({ containerId }, zone.in());
  return mounts.findLast((mount) => mount.target === target);
}
