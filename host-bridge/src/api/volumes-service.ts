import { type Handlers, toTimestamp, type VolumesService, type zone } from "@zone/proto";
import type { Logger } from "pino";
import { bridgeError } from "../errors.js";
import { sizeOf } from "../numbers.js";
import type { VolumeRecord } from "../state/volume-record.js";
import type { Volumes } from "../volumes/volumes.js";
import { checkVolumeName } from "../zones/mount-spec.js";
import { checkCount, invalid, quote } from "../zones/spec-error.js";
import type { Caller, ZoneTable } from "../zones/zone-table.js";
import { unaryCall } from "./calls.js";

const MAX_LABELS = 64;
const MAX_LABEL_LENGTH = 256;

/** zone.bridge.v1.Volumes, for one caller. */
export function volumesService(
  volumes: Volumes,
  zones: ZoneTable,
  caller: Caller,
  log: Logger,
): Handlers<typeof VolumesService> {
  const message = (record: VolumeRecord) => volumeMessage(volumes, record);
  return {
    create: unaryCall(log, async ({ name, sizeBytes, labels }) => {
      if (name !== "") checkVolumeName(name);
      checkLabels(labels);
      const asked = { name, sizeBytes: sizeOf(sizeBytes), labels };
      return { volume: await message(await volumes.create(asked, caller)) };
    }),
    list: unaryCall(log, async () => ({ volumes: await Promise.all(volumes.list(caller).map(message)) })),
    remove: unaryCall(log, async ({ name }) => {
      volumes.get(name, caller);
      const user = zones.userOfVolume(name);
      if (user !== undefined) {
        const why = `volume ${name} is in use: zone ${user} mounts it: remove that zone first`;
        throw bridgeError("FAILED_PRECONDITION", "VOLUME_IN_USE", why, { type: "volume", name });
      }
      await volumes.remove(name, caller);
      return {};
    }),
    resize: unaryCall(log, async ({ name, sizeBytes }) => {
      const record = await volumes.grow(name, sizeOf(sizeBytes), caller);
      await zones.volumeGrown(name, record.sizeBytes);
      return { volume: await message(volumes.get(name, caller)) };
    }),
  };
}

function checkLabels(labels: Record<string, string>): void {
  const entries = Object.entries(labels);
  checkCount("INVALID_LIMIT", "labels", entries, MAX_LABELS);
  for (const [key, value] of entries) {
    if (key.length > 0 && key.length <= MAX_LABEL_LENGTH && value.length <= MAX_LABEL_LENGTH) continue;
    throw invalid("INVALID_LIMIT", `${quote(key)} cannot be a label: give at most ${MAX_LABEL_LENGTH} characters`);
  }
}

async function volumeMessage(volumes: Volumes, record: VolumeRecord): Promise<zone.bridge.v1.Volume.$Properties> {
  const { name, sizeBytes, createdAt, labels } = record;
  // A file that is gone is told by what uses it; a list must not fail for it.
  const allocatedBytes = await volumes.allocatedBytes(name).catch(() => 0);
  const zoneId = volumes.holderOf(name)?.id ?? "";
  return { name, sizeBytes, allocatedBytes, createdAt: toTimestamp(createdAt), zoneId, labels: { ...labels } };
}
