import { Signals } from "../attach/signals.js";
import { inZone, openBridge, QUICK, zoneName } from "../bridge/connect.js";
import { zoneEndWatch } from "../bridge/zone-end.js";
import type { Context } from "../context.js";
import { int64 } from "../numbers.js";
import { attachForeground, checkStdio, exitCodeOf } from "./foreground.js";
import { forcedExit } from "./run.js";

/** The options of `zonectl attach`, as given. */
export interface AttachOptions {
  readonly stdin: boolean;
  readonly detachKeys?: string;
}

/** Attaches to a zone's main process, from its next byte of output on; `logs` has what came before. */
export async function attach(context: Context, zone: string, options: AttachOptions): Promise<number> {
  zoneName(zone);
  const signals = new Signals(
    (number) => process.exit(128 + number), // nothing is attached yet
    (number) => forcedExit(context, number),
  );
  const client = await openBridge(context);
  const { zone: found } = await client.zones.get({ zone }, QUICK);
  const { process: main } = await client.process.get({ id: "main" }, { ...inZone(zone), ...QUICK });
  const stdio = {
    tty: main?.tty ?? false,
    interactive: options.stdin && (found?.spec?.stdin ?? false),
    ...(options.detachKeys !== undefined && { detachKeys: options.detachKeys }),
  };
  checkStdio(context, stdio);
  const over = new AbortController();
  const outcome = await attachForeground({
    context,
    client,
    zone,
    process: { id: "main", start: false },
    stdio,
    signals,
    zoneEnded: zoneEndWatch(client, zone, over.signal),
    from: { stdout: int64(main?.stdoutBytes), stderr: int64(main?.stderrBytes) },
  });
  over.abort();
  return exitCodeOf(outcome, zone, true);
}
