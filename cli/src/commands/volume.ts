import { fromTimestamp } from "@zone/proto";
import { write } from "../attach/output.js";
import { openBridge, QUICK, zoneName } from "../bridge/connect.js";
import type { Context } from "../context.js";
import type { api } from "../messages.js";
import { int64 } from "../numbers.js";
import { checkVolumeName, parseVolume } from "../parse/mounts.js";
import { parseMemory } from "../parse/quantities.js";
import { UsageError } from "../parse/usage-error.js";
import { volumeToJson } from "../text/json.js";
import { ago, byteSize, formatTable } from "../text/table.js";
import { forEachName } from "./each.js";
import { type ListOptions, writeJson } from "./list.js";

const SHORT_ID = 12;
/** Making a file system, or growing one in a zone, takes a moment. */
const SLOW = { timeoutMs: 120_000 };

/** `zonectl volume create`: prints its name. */
export async function create(context: Context, name: string, options: { size?: string }): Promise<number> {
  const sizeBytes = options.size === undefined ? 0 : parseMemory(options.size);
  if (name !== "") checkVolumeName(name);
  const client = await openBridge(context);
  const { volume } = await client.volumes.create({ name, sizeBytes }, SLOW);
  await write(context.stdout, `${volume?.name}\n`);
  return 0;
}

/** `zonectl volume ls`. */
export async function ls(context: Context, options: ListOptions): Promise<number> {
  const client = await openBridge(context);
  const { volumes } = await client.volumes.list({}, QUICK);
  if (options.quiet) await write(context.stdout, volumes.map(({ name }) => `${name}\n`).join(""));
  else if (options.format === "json") await writeJson(context, volumes.map(volumeToJson));
  else {
    const rows = volumes.map((volume) => volumeRow(volume, Date.now()));
    await write(context.stdout, formatTable(["NAME", "SIZE", "USED", "ZONE", "CREATED"], rows));
  }
  return 0;
}

/** A volume as a row of `volume ls`. */
export function volumeRow(volume: api.Volume.$Properties, nowMs: number): string[] {
  return [
    volume.name ?? "",
    byteSize(int64(volume.sizeBytes)),
    byteSize(int64(volume.allocatedBytes)),
    (volume.zoneId ?? "").slice(0, SHORT_ID),
    ago(fromTimestamp(volume.createdAt), nowMs),
  ];
}

/** `zonectl volume rm`. */
export async function rm(context: Context, names: string[]): Promise<number> {
  const client = await openBridge(context);
  const act = async (name: string) => client.volumes.remove({ name: checkVolumeName(name) }, SLOW);
  return forEachName(context, names, act, (name) => write(context.stdout, `${name}\n`));
}

/** `zonectl volume resize`. */
export async function resize(context: Context, name: string, size: string): Promise<number> {
  const request = { name: checkVolumeName(name), sizeBytes: parseMemory(size) };
  const client = await openBridge(context);
  await client.volumes.resize(request, SLOW);
  return 0;
}

/** `zonectl volume attach ZONE NAME:/PATH[:ro]`: to a zone that runs. */
export async function attach(context: Context, zone: string, text: string): Promise<number> {
  const { volume, target, readOnly } = parseVolume(text, process.cwd());
  if (!volume) throw new UsageError(`invalid volume '${text}': only a volume can be attached to a zone that runs`);
  const client = await openBridge(context);
  await client.zones.attachVolume({ zone: zoneName(zone), volume, target, readOnly }, SLOW);
  return 0;
}

/** `zonectl volume detach ZONE NAME`. */
export async function detach(context: Context, zone: string, name: string): Promise<number> {
  const request = { zone: zoneName(zone), volume: checkVolumeName(name) };
  const client = await openBridge(context);
  await client.zones.detachVolume(request, SLOW);
  return 0;
}
