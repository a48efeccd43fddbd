import { fromTimestamp } from "@zone/proto";
import { write } from "../attach/output.js";
import { inZone, openBridge, QUICK, zoneName } from "../bridge/connect.js";
import type { Context } from "../context.js";
import { type agent, api } from "../messages.js";
import { int64 } from "../numbers.js";
import { imageToJson, stateName, taskToJson, zoneToJson } from "../text/json.js";
import { commandLine, shortened } from "../text/printable.js";
import { ago, byteSize, formatTable, span } from "../text/table.js";

/** How a list is printed. */
export interface ListOptions {
  readonly format: "table" | "json";
  readonly quiet?: boolean;
}

const SHORT_ID = 12;

/** `zonectl ls`: the zones of this host. */
export async function ls(context: Context, options: ListOptions & { all?: boolean }): Promise<number> {
  const client = await openBridge(context);
  const { zones } = await client.zones.list({ all: options.all ?? false }, QUICK);
  if (options.quiet) await write(context.stdout, zones.map((zone) => `${zone.id?.slice(0, SHORT_ID)}\n`).join(""));
  else if (options.format === "json") await writeJson(context, zones.map(zoneToJson));
  else {
    const rows = zones.map((zone) => zoneRow(zone, Date.now()));
    await write(context.stdout, formatTable(["ID", "NAME", "IMAGE", "COMMAND", "STATE", "CREATED"], rows));
  }
  return 0;
}

/** A zone as a row of `ls`. */
export function zoneRow(zone: api.Zone.$Properties, nowMs: number): string[] {
  const command = shortened(commandLine(zone.argv ?? []), 32);
  return [
    (zone.id ?? "").slice(0, SHORT_ID),
    zone.spec?.name ?? "",
    zone.spec?.image ?? "",
    command,
    describeState(zone, nowMs),
    ago(fromTimestamp(zone.createdAt), nowMs),
  ];
}

function describeState(zone: api.Zone.$Properties, nowMs: number): string {
  const state = stateName(zone);
  const since = (at: number | undefined) => (at === undefined ? "" : span(nowMs - at));
  if (zone.state === api.ZoneState.ZONE_STATE_RUNNING) return `running ${since(fromTimestamp(zone.startedAt))}`.trim();
  if (zone.state !== api.ZoneState.ZONE_STATE_ENDED) return state;
  const when = since(fromTimestamp(zone.endedAt));
  return `ended (${zone.exitCode ?? 0})${when && ` ${when} ago`}`;
}

/** `zonectl ps ZONE`: what runs inside. */
export async function ps(context: Context, zone: string, options: ListOptions): Promise<number> {
  zoneName(zone);
  const client = await openBridge(context);
  const { tasks } = await client.process.list({ containerId: "main" }, { ...inZone(zone), ...QUICK });
  if (options.format === "json") await writeJson(context, tasks.map(taskToJson));
  else await write(context.stdout, formatTable(["PID", "UID", "STATE", "TIME", "RSS", "COMMAND"], tasks.map(taskRow)));
  return 0;
}

/** A process as a row of `ps`. */
export function taskRow(task: agent.RunningTask.$Properties): string[] {
  const seconds = Math.floor(int64(task.cpuMs) / 1000);
  const time = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  return [
    String(task.containerPid ?? 0),
    String(task.uid ?? 0),
    task.state ?? "",
    time.map((part) => String(part).padStart(2, "0")).join(":"),
    byteSize(int64(task.rssKib) * 1024),
    // Arguments are separated by NUL in proc(5) cmdline; some kernels and agents use blanks.
    Buffer.from(task.command ?? [])
      .toString()
      .replaceAll("\0", " ")
      .trim(),
  ];
}

/** `zonectl image ls`. */
export async function imageLs(context: Context, options: ListOptions): Promise<number> {
  const client = await openBridge(context);
  const { images } = await client.images.list({}, QUICK);
  if (options.quiet) await write(context.stdout, images.map((image) => `${image.digest}\n`).join(""));
  else if (options.format === "json") await writeJson(context, images.map(imageToJson));
  else {
    const rows = images.flatMap((image) => imageRows(image, Date.now()));
    await write(context.stdout, formatTable(["IMAGE", "DIGEST", "SIZE", "PULLED"], rows));
  }
  return 0;
}

/** An image as rows of `image ls`: one for each name. */
export function imageRows(image: api.Image.$Properties, nowMs: number): string[][] {
  const references = image.references?.length ? image.references : ["<none>"];
  const digest = (image.digest ?? "").replace(/^sha256:/, "").slice(0, SHORT_ID);
  return references.map((name) => [
    name,
    digest,
    byteSize(int64(image.sizeBytes)),
    ago(fromTimestamp(image.pulledAt), nowMs),
  ]);
}

/** A value as indented JSON on standard output. */
export async function writeJson(context: Context, value: unknown): Promise<void> {
  await write(context.stdout, `${JSON.stringify(value, null, 2)}\n`);
}
