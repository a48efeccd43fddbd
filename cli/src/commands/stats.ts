import { fromTimestamp } from "@zone/proto";
import { write } from "../attach/output.js";
import { openBridge, zoneName } from "../bridge/connect.js";
import { forEachMessage } from "../bridge/streams.js";
import type { Context } from "../context.js";
import type { api } from "../messages.js";
import { int64 } from "../numbers.js";
import { statsToJson } from "../text/json.js";
import { byteSize, formatTable } from "../text/table.js";

type Stats = api.ZoneStats.$Properties;

/** The options of `zonectl stats`, as given. */
export interface StatsOptions {
  readonly stream: boolean;
  readonly format: "table" | "json";
}

const HEADERS = ["NAME", "CPU", "MEM / LIMIT", "MEM", "NET IN / OUT", "DISK IN / OUT", "PIDS", "ON THE HOST"];
const SHORT_ID = 12;
/** Cursor to the top left, and erase from there: ECMA-48 CUP, ED. */
const HOME = "\u001b[H\u001b[J";

/** `zonectl stats [ZONE...]`: a live table, or with --no-stream one turn; as JSON one object per zone and turn. */
export async function stats(context: Context, names: string[], options: StatsOptions): Promise<number> {
  const live = options.stream;
  const client = await openBridge(context);
  const meter = new Meter();
  let rows: string[][] = [];
  let turns = 0;
  // One turn has no rate: the first of two is only taken as the start.
  const wanted = live || options.format === "json" ? 0 : 1;
  const over = new AbortController();
  const follow = live || wanted > 0;
  const call = client.zones.stats({ zones: names.map(zoneName), follow }, { signal: over.signal });
  try {
    await forEachMessage(call, async (message) => {
      if (options.format === "json" && !message.zoneId) return;
      if (options.format === "json") return write(context.stdout, `${JSON.stringify(statsToJson(message))}\n`);
      if (message.zoneId) rows.push(meter.row(message));
      if (!message.last) return;
      if (turns++ >= wanted) {
        await write(context.stdout, `${live && context.stdout.isTTY ? HOME : ""}${formatTable(HEADERS, rows)}`);
        if (!live) over.abort();
      }
      rows = [];
    });
  } catch (thrown) {
    if (!over.signal.aborted) throw thrown;
  }
  return 0;
}

/** Makes rates of counters: remembers each zone's last message. */
export class Meter {
  private readonly last = new Map<string, Stats>();

  row(now: Stats): string[] {
    const before = this.last.get(now.zoneId ?? "");
    this.last.set(now.zoneId ?? "", now);
    const name = now.name || (now.zoneId ?? "").slice(0, SHORT_ID);
    const host = byteSize(int64(now.vmmPssBytes));
    if (now.paused || now.message) return [name, now.paused ? "paused" : (now.message ?? ""), "", "", "", "", "", host];
    const limit = int64(now.memoryLimitBytes) || int64(now.zoneMemoryTotalBytes);
    const used = int64(now.memoryBytes);
    return [
      name,
      percent(cpuShare(before, now)),
      `${byteSize(used)} / ${byteSize(limit)}`,
      percent(limit > 0 ? used / limit : undefined),
      `${byteSize(int64(now.networkReceivedBytes))} / ${byteSize(int64(now.networkSentBytes))}`,
      `${byteSize(int64(now.diskReadBytes))} / ${byteSize(int64(now.diskWrittenBytes))}`,
      String(int64(now.pids)),
      host,
    ];
  }
}

/** Of one cpu: 1.5 is one and a half. Undefined without an earlier message. */
export function cpuShare(before: Stats | undefined, now: Stats): number | undefined {
  const ms = (fromTimestamp(now.time) ?? 0) - (fromTimestamp(before?.time) ?? 0);
  if (!before || ms <= 0) return undefined;
  return Math.max(0, int64(now.cpuUs) - int64(before.cpuUs)) / 1000 / ms;
}

function percent(share: number | undefined): string {
  return share === undefined ? "--" : `${(share * 100).toFixed(2)}%`;
}
