import { ZoneError } from "@zone/proto";
import { AttachSession, type Outcome } from "../attach/attach-session.js";
import { parseDetachKeys } from "../attach/detach-keys.js";
import { OutputSink } from "../attach/output.js";
import type { Signals } from "../attach/signals.js";
import { StdinPump } from "../attach/stdin-pump.js";
import { enterRawMode, type Size, terminalOf, watchSize, windowSize } from "../attach/terminal.js";
import type { Bridge } from "../bridge/connect.js";
import { forEachMessage } from "../bridge/streams.js";
import type { Context } from "../context.js";
import { CommandFailure, EXIT, QuietExit } from "../errors.js";
import { type agent, api } from "../messages.js";
import { int64 } from "../numbers.js";
import { UsageError } from "../parse/usage-error.js";

/** How a command wants its stdio: docker's -i, -t and --detach-keys. */
export interface StdioOptions {
  readonly interactive?: boolean;
  readonly tty?: boolean;
  readonly detachKeys?: string;
}

/** A process whose stdio is to be this process's. */
export interface Foreground {
  readonly context: Context;
  readonly client: Bridge;
  readonly zone: string;
  readonly process: { readonly id: string; readonly start: boolean; readonly spec?: agent.ProcessSpec.$Properties };
  readonly stdio: StdioOptions;
  readonly signals: Signals;
  readonly zoneEnded: () => Promise<api.Zone | undefined>;
  /** Where output begins; by default at its first byte. */
  readonly from?: { readonly stdout: number; readonly stderr: number };
}

/** Refuses -i and -t together when standard input is no terminal, and detach keys that are none: as docker, before all else. */
export function checkStdio(context: Context, stdio: StdioOptions): void {
  parseDetachKeys(stdio.detachKeys ?? "");
  if (stdio.interactive && stdio.tty && context.stdin.isTTY !== true) {
    throw new UsageError("the input device is not a TTY; leave out -t to feed it from a pipe or file");
  }
}

/** The size of the window that the output goes to. */
export function currentSize(context: Context): Size {
  return windowSize(terminalOf([context.stdout, context.stderr]));
}

/** Runs a process in the foreground until it ends, is detached from, or its output has no reader. */
export async function attachForeground(foreground: Foreground): Promise<Outcome> {
  const { context, client, zone, stdio, signals, zoneEnded, from } = foreground;
  const { stdin, stdout, stderr } = context;
  const isRaw = stdio.tty === true && stdio.interactive === true;
  const warn = (message: string) => void stderr.write(`zonectl: ${message}${isRaw ? "\r\n" : "\n"}`);

  const sink = (stream: NodeJS.WriteStream): OutputSink => {
    const made: OutputSink = new OutputSink(stream, {
      written: (offset) => session.written(made, offset),
      broken: (error) => session.outputBroken(error),
    });
    return made;
  };
  const sinks = { stdout: sink(stdout), stderr: sink(stderr) };
  sinks.stdout.received = from?.stdout ?? 0;
  sinks.stderr.received = from?.stderr ?? 0;
  const pump = stdio.interactive
    ? new StdinPump(stdin, {
        detachKeys: stdio.tty ? parseDetachKeys(stdio.detachKeys ?? "") : undefined,
        onDetach: () => session.detach(),
        onError: (error) => warn(`cannot read standard input: ${error.message}`),
      })
    : undefined;
  const terminal = stdio.tty ? terminalOf([stdout, stderr]) : undefined;
  const session = new AttachSession({
    client: client.process,
    zone,
    process: foreground.process,
    ...sinks,
    stdin: pump,
    size: terminal && windowSize(terminal),
    zoneEnded,
    warn,
  });

  const unwatch = watchSize(terminal, (size) => session.resize(size));
  signals.route((number) => session.signal(number));
  const leaveRawMode = isRaw ? enterRawMode(stdin) : () => {};
  try {
    const outcome = await session.run();
    const isKept = outcome.kind === "zone-ended" && outcome.zone !== undefined && foreground.process.id === "main";
    if (isKept) await finishFromLogs(client, zone, sinks, warn);
    return outcome;
  } finally {
    leaveRawMode();
    unwatch();
  }
}

/**
 * The zone's main process ended while the link was down, so the bridge's log has what was not read. The sinks know what has
 * been written, by offset.
 */
async function finishFromLogs(
  client: Bridge,
  zone: string,
  sinks: { readonly stdout: OutputSink; readonly stderr: OutputSink },
  warn: (message: string) => void,
): Promise<void> {
  const offsets = { stdout: 0, stderr: 0 };
  try {
    await forEachMessage(client.zones.logs({ zone }), async ({ stream, gapBytes, data }) => {
      if (stream !== "stdout" && stream !== "stderr") return;
      const offset = offsets[stream] + int64(gapBytes);
      offsets[stream] = offset + data.length;
      const { gap } = sinks[stream].take(offset, data);
      if (gap > 0) warn(`${gap} bytes of ${stream} are lost`);
      await sinks[stream].drained();
    });
  } catch (thrown) {
    warn(`the end of the output may be missing, as the link was lost: ${ZoneError.from(thrown).message}`);
  }
}

/** The exit code for how a process ended; throws what is to be said. `isMain`: the process is the zone's main one. */
export function exitCodeOf(outcome: Outcome, zone: string, isMain: boolean): number {
  switch (outcome.kind) {
    case "exited":
      return outcome.signal > 0 ? 128 + outcome.signal : outcome.code;
    case "not-started":
      throw new CommandFailure(
        outcome.failure.message || "the process cannot be started",
        outcome.failure.exitCode || EXIT.usage,
      );
    case "detached":
      return 0;
    case "output-broken":
      if ("code" in outcome.error && outcome.error.code === "EPIPE") throw new QuietExit(EXIT.brokenPipe);
      throw new CommandFailure(`cannot write output: ${outcome.error.message}; zone ${zone} runs on`);
    case "interrupted":
      throw new CommandFailure(
        `gave up waiting for zone ${zone}, whose link is down; what runs there runs on`,
        128 + outcome.signal,
      );
    case "zone-ended":
      return exitCodeOfEnd(outcome.zone, zone, isMain);
  }
}

function exitCodeOfEnd(zone: api.Zone | undefined, name: string, isMain: boolean): number {
  if (!zone) {
    throw new CommandFailure(
      `zone ${name} ended and was removed while its link was down: the exit status is not known`,
    );
  }
  switch (zone.endCause) {
    case api.EndCause.END_CAUSE_EXITED:
    case api.EndCause.END_CAUSE_STOPPED:
      if (isMain) return zone.exitCode;
      // The kernel killed it when the zone's main process ended.
      throw new CommandFailure(`zone ${name} ended while the command ran in it`, 137);
    case api.EndCause.END_CAUSE_PANIC:
      throw new CommandFailure(
        `zone ${name} ended: ${zone.endMessage || "its kernel panicked"}; see \`zonectl logs --system ${name}\``,
      );
    case api.EndCause.END_CAUSE_START_FAILED:
      throw new CommandFailure(zone.endMessage || `zone ${name} could not start`, zone.exitCode || EXIT.usage);
    default:
      throw new CommandFailure(
        `zone ${name} ended: ${zone.endMessage || "its domain went away: powered off from inside, or its VMM was killed"}`,
      );
  }
}
