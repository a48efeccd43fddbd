import { createClient, MountService, ZoneError } from "@zone/proto";
import { bridgeError } from "../errors.js";
import type { VolumeUse } from "../state/zone-record.js";
import { MAIN } from "./main-spec.js";
import { volumeDisk, volumeMount, volumeSerial } from "./mount-plan.js";
import type { RunningZone } from "./running-zone.js";
import { quote } from "./spec-error.js";
import { Undo } from "./undo.js";
import type { ChangeableZone } from "./zone-changes.js";

/** For one call to the agent. */
export const CALL_MS = 30_000;

export async function mountsOf(run: RunningZone) {
  return createClient(MountService, await run.link.client(run.detached, CALL_MS));
}

/**
 * As ZoneChanges.attachVolume. The record has the volume before the domain does, and until the domain has it no more: whenever the
 * bridge ends, no other zone gets what this one may write to, and the volume can be detached.
 */
export async function attachVolume(zone: ChangeableZone, run: RunningZone, use: VolumeUse): Promise<void> {
  const { journal, context, log } = zone;
  const { volumes, isAdmin } = context;
  const { id, name, ownerUid, volumes: before = [] } = journal.record;
  checkFree(zone, use.target);
  await volumes.ensure(use.volume, { uid: ownerUid, admin: isAdmin(ownerUid) });
  volumes.take(use.volume, { id, name });
  try {
    await journal.reviseWhole({ volumes: [...before, use] });
  } catch (thrown) {
    volumes.release(id, use.volume);
    throw thrown;
  }
  const undo = new Undo(log);
  try {
    await run.domain.attachDisk(volumeDisk(use, volumes.pathOf(use.volume)));
    undo.push(() => run.domain.detachDisk(volumeSerial(use.volume)));
    const mounts = await mountsOf(run);
    await mounts.mount({ containerId: MAIN, mount: volumeMount(use) }, { timeoutMs: CALL_MS });
    undo.push(() => mounts.unmount({ containerId: MAIN, target: use.target }, { timeoutMs: CALL_MS }));
    if (volumes.isGrown(use.volume) && !use.readOnly) await resizeMount(zone, run, use);
  } catch (thrown) {
    // What the domain may still have stays the zone's.
    if (await undo.all()) {
      await journal.noteRevision({ volumes: before });
      volumes.release(id, use.volume);
    }
    throw thrown;
  }
  journal.tell("volume-attached");
}

/** As ZoneChanges.detachVolume. What an earlier bridge began to attach or detach may be there in part. */
export async function detachVolume(zone: ChangeableZone, run: RunningZone, volume: string): Promise<void> {
  const { journal, context, log } = zone;
  const { id, name, volumes: before = [] } = journal.record;
  const use = before.find((each) => each.volume === volume);
  if (!use) throw unknownVolume(name, volume);
  const mounts = await mountsOf(run);
  await mounts.unmount({ containerId: MAIN, target: use.target }, { timeoutMs: CALL_MS }).catch((thrown) => {
    const error = ZoneError.from(thrown);
    if (error.reason !== "MOUNT_UNKNOWN") throw asBusy(error, use);
  });
  const undo = new Undo(log, () =>
    mounts.mount({ containerId: MAIN, mount: { ...volumeMount(use), copyUp: false } }, { timeoutMs: CALL_MS }),
  );
  try {
    await run.domain.detachDisk(volumeSerial(volume)).catch((thrown) => {
      if (ZoneError.from(thrown).reason !== "VOLUME_UNKNOWN") throw thrown;
    });
    undo.push(() => run.domain.attachDisk(volumeDisk(use, context.volumes.pathOf(volume))));
    await journal.reviseWhole({ volumes: before.filter((each) => each !== use) }, "volume-detached");
  } catch (thrown) {
    await undo.all();
    throw thrown;
  }
  context.volumes.release(id, volume);
}

/** Grows the file system of a mounted volume to its disk's size. */
export async function resizeMount({ context }: ChangeableZone, run: RunningZone, use: VolumeUse): Promise<void> {
  const mounts = await mountsOf(run);
  await mounts.resize({ containerId: MAIN, target: use.target }, { timeoutMs: CALL_MS });
  await context.volumes.noteGrown(use.volume);
}

function checkFree({ journal }: ChangeableZone, target: string): void {
  const { spec, name, volumes = [] } = journal.record;
  const fixed = (spec.mounts ?? []).some((mount) => !mount.volume && mount.target === target);
  if (!fixed && !volumes.some((use) => use.target === target)) return;
  const message = `zone ${name} has something mounted at ${quote(target)}: choose another target`;
  throw bridgeError("INVALID_ARGUMENT", "INVALID_MOUNT", message, { type: "zone", name });
}

function unknownVolume(name: string, volume: string): ZoneError {
  const message = `zone ${name} has no volume ${quote(volume)}`;
  return bridgeError("NOT_FOUND", "VOLUME_UNKNOWN", message, { type: "volume", name: volume.slice(0, 80) });
}

function asBusy(error: ZoneError, { volume, target }: VolumeUse): ZoneError {
  if (error.reason !== "MOUNT_BUSY") return error;
  const message = `volume ${volume} is used by a process in the zone (${target}): end it, or leave that folder`;
  return bridgeError("FAILED_PRECONDITION", "VOLUME_BUSY", message, { type: "volume", name: volume }, error);
}
