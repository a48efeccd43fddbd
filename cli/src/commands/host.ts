import { write } from "../attach/output.js";
import { connectBridge, openBridge, QUICK } from "../bridge/connect.js";
import type { Context } from "../context.js";
import { report } from "../errors.js";
import { api } from "../messages.js";
import { checkToJson, enumName } from "../text/json.js";
import { formatTable } from "../text/table.js";
import { type ListOptions, writeJson } from "./list.js";

/** A probe boots a zone under TCG at worst. */
const PROBE_MS = 120_000;

/** `zonectl doctor`: what works on this host; exit code 1 when something that is needed does not. */
export async function doctor(context: Context, options: ListOptions & { probe?: boolean }): Promise<number> {
  const checks = await allChecks(context, options.probe ?? false);
  if (options.format === "json") await writeJson(context, checks.map(checkToJson));
  else await write(context.stdout, checksTable(checks, context.color));
  return checks.some((check) => check.result === api.Check.Result.RESULT_FAILED) ? 1 : 0;
}

/** The bridge's checks, and before them whether there is a bridge. */
async function allChecks(context: Context, probe: boolean): Promise<api.Check.$Properties[]> {
  try {
    const client = await openBridge(context);
    const { checks } = await client.host.doctor({ probe }, { timeoutMs: PROBE_MS });
    const message = `answers at ${context.bridge.path}`;
    return [{ name: "bridge", result: api.Check.Result.RESULT_OK, message, advice: "" }, ...checks];
  } catch (thrown) {
    const [message = "", ...advice] = (report(thrown, context.bridge.path).line ?? "")
      .replace(/^zonectl: /, "")
      .split("; ");
    return [{ name: "bridge", result: api.Check.Result.RESULT_FAILED, message, advice: advice.join("; ") }];
  }
}

const COLORS: Record<string, number> = { ok: 32, warning: 33, failed: 31, absent: 2 };

/** The checks as a table; advice is on the line below its check. */
export function checksTable(checks: readonly api.Check.$Properties[], color: boolean): string {
  const rows = checks.flatMap((check) => {
    const row = [enumName(api.Check.Result, "RESULT_", check.result), check.name ?? "", check.message ?? ""];
    return check.advice ? [row, ["", "", `-> ${check.advice}`]] : [row];
  });
  const paint = (cell: string, column: number) =>
    color && column === 0 && COLORS[cell] ? `\x1b[${COLORS[cell]}m${cell}\x1b[0m` : cell;
  return formatTable(["RESULT", "CHECK", "FOUND"], rows, paint);
}

/** The bridge's version, from one that answers at `path`. */
export async function bridgeVersion(path: string): Promise<api.VersionResponse> {
  const client = connectBridge(path);
  try {
    return await client.host.version({}, QUICK);
  } finally {
    client.close();
  }
}
