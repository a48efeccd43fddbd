import { randomBytes } from "node:crypto";
import { ZoneError } from "@zone/proto";
import { Signals } from "../attach/signals.js";
import { type Bridge, inZone, openBridge, QUICK, zoneName } from "../bridge/connect.js";
import { zoneEndWatch } from "../bridge/zone-end.js";
import type { Context } from "../context.js";
import { CommandFailure } from "../errors.js";
import type { agent, api } from "../messages.js";
import { type Environment, envArgument, mergeEnv, parseEnvFile } from "../parse/environment.js";
import { attachForeground, checkStdio, currentSize, exitCodeOf, type StdioOptions } from "./foreground.js";
import { forcedExit, readEnvFile } from "./run.js";

/** The options of `zonectl exec`, as given. */
export interface ExecOptions extends StdioOptions {
  readonly detach?: boolean;
  readonly env: readonly Buffer[];
  readonly envFile: readonly string[];
  readonly workdir?: string;
  readonly user?: string;
}

/** Runs another process in a zone's container; the exit code is the process's. */
export async function exec(
  context: Context,
  zone: string,
  argv: Buffer[],
  options: ExecOptions,
  own: Environment,
): Promise<number> {
  zoneName(zone);
  if (!options.detach) checkStdio(context, options);
  const signals = new Signals(
    (number) => process.exit(128 + number), // nothing has been made yet
    (number) => forcedExit(context, number),
  );
  const client = await openBridge(context);
  const defaults = await zoneDefaults(client, zone);
  const spec = processSpec(context, argv, options, own, defaults);
  if (options.detach) {
    await client.process.start({ spec }, { ...inZone(zone), ...QUICK });
    return 0;
  }
  const over = new AbortController();
  const outcome = await attachForeground({
    context,
    client,
    zone,
    process: { id: spec.id, start: true, spec },
    stdio: options,
    signals,
    zoneEnded: zoneEndWatch(client, zone, over.signal),
  });
  over.abort();
  if (outcome.kind === "exited" || outcome.kind === "not-started") await forget(context, client, zone, spec.id);
  // As a pipeline does: who writes what nobody reads gets SIGPIPE.
  if (outcome.kind === "output-broken")
    await client.process.signal({ id: spec.id, signal: 13 }, { ...inZone(zone), ...QUICK }).catch(ended);
  return exitCodeOf(outcome, zone, false);
}

/** What a process in a zone gets when the user says nothing: as the zone's main process. */
export interface ZoneDefaults {
  readonly env: readonly Uint8Array[];
  readonly user: string;
  readonly cwd: string;
}

async function zoneDefaults(client: Bridge, name: string): Promise<ZoneDefaults> {
  const [{ zone }, { images }] = await Promise.all([
    client.zones.get({ zone: name }, QUICK),
    client.images.list({}, QUICK),
  ]);
  return mergeDefaults(
    zone?.spec ?? {},
    images.find((image) => image.digest === zone?.imageDigest),
  );
}

/** The zone's own settings over its image's. */
export function mergeDefaults(spec: api.ZoneSpec.$Properties, image: api.Image.$Properties | undefined): ZoneDefaults {
  const imageEnv = (image?.env ?? []).map((entry) => Buffer.from(entry));
  return {
    env: mergeEnv(imageEnv, spec.env ?? []),
    user: spec.user || image?.user || "",
    cwd: spec.cwd || image?.workingDir || "",
  };
}

/** The process that is asked for. Its id is chosen here, so that a request whose answer was lost is not made twice. */
export function processSpec(
  context: Context,
  argv: readonly Buffer[],
  options: ExecOptions,
  own: Environment,
  defaults: ZoneDefaults,
): agent.ProcessSpec.$Properties & { id: string } {
  const fromFiles = options.envFile.flatMap((path) => parseEnvFile(readEnvFile(path), path, own));
  const fromOptions = options.env.flatMap((argument) => envArgument(argument, own) ?? []);
  const size = currentSize(context);
  return {
    id: `exec-${randomBytes(6).toString("hex")}`,
    containerId: "main",
    argv: [...argv],
    env: mergeEnv(options.tty ? [Buffer.from("TERM=xterm")] : [], defaults.env, fromFiles, fromOptions),
    cwd: options.workdir ?? defaults.cwd,
    user: options.user ?? defaults.user,
    stdin: options.interactive ?? false,
    tty: options.tty ? { rows: size.rows, columns: size.columns } : undefined,
  };
}

/** The agent keeps what became of a process until it is deleted; we know it. */
async function forget(context: Context, client: Bridge, zone: string, id: string): Promise<void> {
  try {
    await client.process.delete({ id }, { ...inZone(zone), timeoutMs: 5_000 });
  } catch (thrown) {
    // The status is ours already, and a zone that has just ended has forgotten it.
    if (context.debug)
      context.stderr.write(`zonectl: cannot delete process ${id}: ${ZoneError.from(thrown).message}\n`);
  }
}

function ended(thrown: unknown): void {
  const error = ZoneError.from(thrown);
  if (error.reason === "PROCESS_NOT_RUNNING" || error.reason === "PROCESS_UNKNOWN") return;
  throw new CommandFailure(`cannot tell the process that its output has no reader: ${error.message}`);
}
