import type { ZoneRecord } from "../state/zone-record.js";
import { type FilesByTarget, type MountPlan, planMounts, volumesOf } from "./mount-plan.js";
import type { OpenPorts, PortTarget } from "./ports.js";
import type { ZoneContext } from "./zone-context.js";

/** What of the host a zone takes before its domain is made. */
export interface Prepared {
  mounts: MountPlan;
  ports: OpenPorts;
}

/**
 * Takes what a zone needs of the host: its volumes (made when there are none), a look at what it mounts, its ports. Leaves nothing
 * taken when it fails: FILES_LOST, VOLUME_IN_USE, PORT_IN_USE, SOURCE_NOT_FOUND...
 */
export async function prepare(
  record: ZoneRecord,
  files: FilesByTarget,
  context: ZoneContext,
  target: PortTarget,
): Promise<Prepared> {
  const { id, name, ownerUid, spec } = record;
  const { volumes } = context;
  const owner = { uid: ownerUid, admin: context.isAdmin(ownerUid) };
  try {
    for (const { volume } of volumesOf(spec.mounts ?? [])) {
      await volumes.ensure(volume, owner);
      volumes.take(volume, { id, name });
    }
    const mounts = await planMounts(record, files, (volume) => volumes.pathOf(volume));
    const ports = await context.openPorts(spec.ports ?? [], target);
    return { mounts, ports };
  } catch (thrown) {
    volumes.release(id);
    throw thrown;
  }
}
