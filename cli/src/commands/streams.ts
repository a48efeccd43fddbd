import { fromTimestamp } from "@zone/proto";
import { write } from "../attach/output.js";
import { openBridge, zoneName } from "../bridge/connect.js";
import { forEachMessage } from "../bridge/streams.js";
import type { Context } from "../context.js";
import type { api } from "../messages.js";
import { int64 } from "../numbers.js";
import { parseTail } from "../parse/quantities.js";
import { eventToJson, stateName } from "../text/json.js";
import { printable } from "../text/printable.js";

/** The options of `zonectl logs`. */
export interface LogsOptions {
  readonly follow?: boolean;
  readonly tail?: string;
  readonly timestamps?: boolean;
  readonly system?: boolean;
}

/** `zonectl logs`: what a zone's main process wrote, stdout to stdout and stderr to stderr, byte for byte. */
export async function logs(context: Context, zone: string, options: LogsOptions): Promise<number> {
  const tail = parseTail(options.tail ?? "all");
  const client = await openBridge(context);
  const request = {
    zone: zoneName(zone),
    follow: options.follow ?? false,
    system: options.system ?? false,
    ...(tail !== undefined && { tail }),
  };
  const stamper = new LineStamper();
  await forEachMessage(client.zones.logs(request), async (record) => {
    const gap = int64(record.gapBytes);
    if (gap > 0) {
      context.stderr.write(`zonectl: ${gap} bytes of ${printable(record.stream)} are no longer kept\n`);
    }
    const data = options.timestamps ? stamper.stamp(record) : record.data;
    await write(record.stream === "stderr" ? context.stderr : context.stdout, data);
  });
  return 0;
}

/** Puts each record's time before each line; a line that came in several records has the time of its first. */
export class LineStamper {
  private readonly inLine = new Set<string>();

  stamp(record: { stream: string; data: Uint8Array; time?: api.ZoneLogRecord["time"] }): Buffer {
    const prefix = Buffer.from(`${new Date(fromTimestamp(record.time) ?? 0).toISOString()} `);
    const parts: Uint8Array[] = [];
    const data = Buffer.from(record.data);
    for (let start = 0; start < data.length; ) {
      const newline = data.indexOf(0x0a, start);
      const end = newline < 0 ? data.length : newline + 1;
      if (!this.inLine.has(record.stream)) parts.push(prefix);
      parts.push(data.subarray(start, end));
      if (newline < 0) this.inLine.add(record.stream);
      else this.inLine.delete(record.stream);
      start = end;
    }
    return Buffer.concat(parts);
  }
}

/** `zonectl events`: changes of zones as they come, until interrupted; JSON is one object a line. */
export async function events(context: Context, options: { format: "table" | "json" }): Promise<number> {
  const client = await openBridge(context);
  await forEachMessage(client.zones.watch({}), async (event) => {
    const lost = int64(event.lost);
    if (lost > 0) context.stderr.write(`zonectl: ${lost} events were lost: they came faster than they were read\n`);
    if (!event.zone) return; // the first message: subscribed
    await write(
      context.stdout,
      options.format === "json" ? `${JSON.stringify(eventToJson(event))}\n` : eventLine(event),
    );
  });
  return 0;
}

/** An event as a line for people. */
export function eventLine(event: api.ZoneEvent.$Properties): string {
  const zone = event.zone ?? {};
  const when = new Date(fromTimestamp(event.time) ?? 0).toISOString();
  const exit = stateName(zone) === "ended" ? `, exitCode=${zone.exitCode ?? 0}` : "";
  return `${when} ${event.type} ${zone.id} ${printable(`(image=${zone.spec?.image}, name=${zone.spec?.name}${exit})`)}\n`;
}
