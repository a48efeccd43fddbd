import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { write } from "../attach/output.js";
import { Signals } from "../attach/signals.js";
import { type Bridge, openBridge, QUICK } from "../bridge/connect.js";
import { finalMessage } from "../bridge/streams.js";
import { zoneEndWatch } from "../bridge/zone-end.js";
import type { Context } from "../context.js";
import { CommandFailure, QuietExit } from "../errors.js";
import { api } from "../messages.js";
import { type Environment, envArgument, mergeEnv, parseEnvFile } from "../parse/environment.js";
import { absoluteReference } from "../parse/image-reference.js";
import { parseCpus, parseMemory } from "../parse/quantities.js";
import { parseSignal } from "../parse/signal-names.js";
import { UsageError } from "../parse/usage-error.js";
import { type ZoneOptions, zoneOptions } from "../parse/zone-options.js";
import { progressOn } from "../progress.js";
import { attachForeground, checkStdio, currentSize, exitCodeOf, type StdioOptions } from "./foreground.js";

/** The options of `zonectl run`, as given. */
export interface RunOptions extends StdioOptions, ZoneOptions {
  readonly rm?: boolean;
  readonly detach?: boolean;
  readonly name?: string;
  readonly env: readonly Buffer[];
  readonly envFile: readonly string[];
  readonly label: readonly string[];
  readonly workdir?: string;
  readonly user?: string;
  readonly memory?: string;
  readonly cpus?: string;
  readonly entrypoint?: string;
  readonly hostname?: string;
  readonly readOnly?: boolean;
  readonly stopSignal?: string;
  readonly cold?: boolean;
}

/** Runs `image` in a zone of its own; the exit code is the process's. */
export async function run(
  context: Context,
  image: string,
  command: Buffer[],
  options: RunOptions,
  own: Environment,
): Promise<number> {
  if (!options.detach) checkStdio(context, options);
  const spec = zoneSpec(context, image, command, options, own);
  const signals = new Signals(
    (number) => process.exit(128 + number), // nothing has been made yet
    (number) => forcedExit(context, number),
  );
  const client = await openBridge(context);
  const interrupted = new AbortController();
  let signal = 0;
  signals.route((number) => {
    signal ||= number;
    interrupted.abort();
  });
  // Chosen here, so that what an interrupted call has made all the same can be removed.
  const zoneId = randomBytes(16).toString("hex");
  let zone: api.Zone.$Properties | undefined;
  try {
    const progress = progressOn(context.stderr);
    const call = { signal: interrupted.signal };
    try {
      zone = await finalMessage(client.zones.create({ spec, zoneId }, call), progress, (message) => message.zone);
      const request = { zone: zone.id, holdMain: !options.detach };
      zone = await finalMessage(client.zones.start(request, call), progress, (message) => message.zone);
    } finally {
      progress.clear();
    }
    if (interrupted.signal.aborted) throw new QuietExit(128 + signal);
  } catch (thrown) {
    if (!interrupted.signal.aborted) throw thrown;
    await removeZone(client, zone?.id ?? zoneId);
    throw new QuietExit(128 + signal);
  }
  const id = zone?.id ?? "";
  if (options.detach) {
    await write(context.stdout, `${id}\n`);
    return 0;
  }
  return await runMain(context, client, signals, id, zone?.spec?.name || id, options);
}

async function runMain(
  context: Context,
  client: Bridge,
  signals: Signals,
  id: string,
  name: string,
  options: RunOptions,
): Promise<number> {
  const over = new AbortController();
  const zoneEnded = zoneEndWatch(client, id, over.signal);
  // A zone with --rm is gone when it has ended: only who waits from the start learns why.
  if (options.rm) void zoneEnded();
  const process = { id: "main", start: true };
  const outcome = await attachForeground({ context, client, zone: id, process, stdio: options, signals, zoneEnded });
  over.abort();
  // With --rm the zone exists for this command alone, as a process in a pipeline does: it is gone when the command is, and
  // ends without a reader too (its init would ignore SIGPIPE). Only who detaches leaves it running.
  if (options.rm && outcome.kind !== "detached") await removeZone(client, id);
  return exitCodeOf(outcome, name, true);
}

/** The zone that is asked for. */
export function zoneSpec(
  context: Context,
  image: string,
  command: readonly Buffer[],
  options: RunOptions,
  own: Environment,
): api.ZoneSpec.$Properties {
  if (image === "") throw new UsageError("invalid image '': give its name, such as busybox or docker://debian:12");
  const size = currentSize(context);
  const fromFiles = options.envFile.flatMap((path) => parseEnvFile(readEnvFile(path), path, own));
  const fromOptions = options.env.flatMap((argument) => envArgument(argument, own) ?? []);
  if (options.stopSignal !== undefined) parseSignal(options.stopSignal);
  return {
    ...zoneOptions(options, process.cwd()),
    name: options.name,
    image: absoluteReference(image, process.cwd()),
    entrypoint:
      options.entrypoint === undefined
        ? undefined
        : { argv: options.entrypoint === "" ? [] : [Buffer.from(options.entrypoint)] },
    command: [...command],
    env: mergeEnv(options.tty ? [Buffer.from("TERM=xterm")] : [], fromFiles, fromOptions),
    cwd: options.workdir,
    user: options.user,
    tty: options.tty,
    ttyRows: options.tty ? size.rows : 0,
    ttyColumns: options.tty ? size.columns : 0,
    stdin: options.interactive,
    memoryBytes: options.memory === undefined ? 0 : parseMemory(options.memory),
    cpuMillis: options.cpus === undefined ? 0 : parseCpus(options.cpus),
    autoRemove: options.rm,
    stopSignal: options.stopSignal,
    labels: Object.fromEntries(options.label.map(parseLabel)),
    bootMode: options.cold ? api.BootMode.BOOT_MODE_COLD : api.BootMode.BOOT_MODE_UNSPECIFIED,
    hostname: options.hostname,
    readOnly: options.readOnly,
  };
}

function parseLabel(text: string): [string, string] {
  const equals = text.indexOf("=");
  const name = equals < 0 ? text : text.slice(0, equals);
  if (name === "") throw new UsageError(`invalid label '${text}': give NAME=value`);
  return [name, equals < 0 ? "" : text.slice(equals + 1)];
}

/** Reads an env file; a UsageError says why it cannot. */
export function readEnvFile(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new UsageError(`cannot read env file ${path}: ${error instanceof Error ? error.message : error}`);
  }
}

async function removeZone(client: Bridge, id: string): Promise<void> {
  await client.zones.delete({ zone: id, force: true }, QUICK).catch((error: unknown) => {
    // It may have removed itself (--rm, or a cancelled start).
    if (!(error instanceof Error && "reason" in error && error.reason === "ZONE_UNKNOWN")) {
      throw new CommandFailure(
        `cannot remove zone ${id}: ${error instanceof Error ? error.message : error}; use \`zonectl rm -f\``,
      );
    }
  });
}

/** Docker's way out when nothing answers: the third SIGINT or SIGTERM. Node puts the terminal back. */
export function forcedExit(context: Context, number: number): void {
  context.stderr.write("\nzonectl: got 3 SIGTERM/SIGINTs, exiting; what runs in the zone may run on\n");
  process.exit(128 + number);
}
