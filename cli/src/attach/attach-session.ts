import type { ClientDuplexStream } from "@grpc/grpc-js";
import { type ProcessService, type ServiceClient, ZoneError } from "@zone/proto";
import { agent, type api } from "../messages.js";
import { int64 } from "../numbers.js";
import type { OutputSink } from "./output.js";
import type { StdinPump } from "./stdin-pump.js";
import type { Size } from "./terminal.js";

/** How an attachment came to its end. */
export type Outcome =
  | { readonly kind: "exited"; readonly code: number; readonly signal: number }
  | { readonly kind: "not-started"; readonly failure: agent.ProcessFailure.$Properties }
  /** The user pressed the detach keys. */
  | { readonly kind: "detached" }
  /** Whoever read our output is gone. */
  | { readonly kind: "output-broken"; readonly error: Error }
  /** A signal came while the link was down, so it could not be passed on. */
  | { readonly kind: "interrupted"; readonly signal: number }
  /** The zone ended and the process's own exit did not come. `zone` is absent when it is removed already. */
  | { readonly kind: "zone-ended"; readonly zone?: api.Zone };

export interface AttachOptions {
  readonly client: ServiceClient<typeof ProcessService>;
  /** A zone's id or name. */
  readonly zone: string;
  /** What to attach to; with `spec` it is made first, and must have this id. */
  readonly process: { readonly id: string; readonly start: boolean; readonly spec?: agent.ProcessSpec.$Properties };
  readonly stdout: OutputSink;
  readonly stderr: OutputSink;
  /** Absent: stdin is not held. */
  readonly stdin?: StdinPump | undefined;
  /** The window's size, sent when it differs from what the process was made with. */
  readonly size?: Size | undefined;
  /** Settles when the zone has ended; asked when the link is lost. */
  readonly zoneEnded: () => Promise<api.Zone | undefined>;
  readonly warn: (message: string) => void;
  /** How long a lost link is waited for. */
  readonly patienceMs?: number;
}

type Call = ClientDuplexStream<agent.AttachRequest.$Properties, agent.AttachResponse>;
/** How one call ended. `opened` says that the agent had answered. */
type CallEnd = {
  readonly opened: boolean;
  readonly outcome?: Outcome | undefined;
  readonly error?: ZoneError | undefined;
};

const PATIENCE_MS = 60_000;
const FIRST_RETRY_MS = 50;
const LONGEST_RETRY_MS = 1_000;
/** Output is acknowledged in steps of this; less than the smallest buffer of the agent, or both would wait. */
const ACK_STEP_BYTES = 32 * 1024;
/** Most bytes that wait for our reader before we stop reading from the bridge. */
const MAX_PENDING_BYTES = 1024 * 1024;
/** How long to wait for the bridge to learn that a zone has ended whose process cannot be reached. */
const END_GRACE_MS = 5_000;

/**
 * The stdio of one process, over as many Attach calls as it takes: a lost link is made again, and every stream goes on at
 * its offset.
 */
export class AttachSession {
  private call: Call | undefined;
  private isOpen = false;
  private readonly queued: number[] = [];
  private lastSize: Size | undefined;
  private readonly acked = new Map<OutputSink, number>();
  private stop: (outcome: Outcome) => void = () => {};
  private readonly stopped = new Promise<Outcome>((resolve) => {
    this.stop = resolve;
  });
  /** The link has been lost and not made again. */
  private isLost = false;

  constructor(private readonly options: AttachOptions) {
    this.lastSize = options.size;
  }

  /** Attaches and carries until the end. Rejects with a ZoneError. */
  async run(): Promise<Outcome> {
    try {
      return await Promise.race([this.follow(), this.stopped]);
    } finally {
      this.options.stdin?.stop();
      this.call?.cancel();
    }
  }

  /** Ends the attachment; the process goes on. */
  detach(): void {
    this.stop({ kind: "detached" });
  }

  /** Our output has no reader any more. */
  outputBroken(error: Error): void {
    this.stop({ kind: "output-broken", error });
  }

  /** Passes a signal on to the process; one that comes too early waits for the process. */
  signal(number: number): void {
    if (this.isOpen) void this.sendSignal(number);
    else if (this.isLost) this.stop({ kind: "interrupted", signal: number });
    else this.queued.push(number);
  }

  /** Tells the process's terminal its new size. */
  resize(size: Size): void {
    this.lastSize = size;
    if (this.isOpen) this.call?.write({ resize: size });
  }

  /** A sink has written everything before `offset`: acknowledges it, and reads on if that had been stopped. */
  written(sink: OutputSink, offset: number): void {
    if (!this.isOpen) return;
    if (offset - (this.acked.get(sink) ?? 0) >= ACK_STEP_BYTES) {
      this.acked.set(sink, offset);
      const stream = agent.OutputStream[sink === this.options.stdout ? "OUTPUT_STREAM_STDOUT" : "OUTPUT_STREAM_STDERR"];
      this.call?.write({ ack: { stream, offset } });
    }
    if (this.pending() < MAX_PENDING_BYTES / 2) this.call?.resume();
  }

  private async follow(): Promise<Outcome> {
    const { process, stdout, stderr, patienceMs = PATIENCE_MS } = this.options;
    let lostAt: number | undefined;
    let retryMs = FIRST_RETRY_MS;
    let wasOpened = false;
    // A process that was asked for but never confirmed may or may not exist: attach by id first, which starts nothing twice.
    let open: agent.AttachOpen.$Properties = process.spec
      ? { spec: process.spec }
      : { processId: process.id, start: process.start };
    for (;;) {
      const { opened, outcome, error } = await this.attach(open);
      if (outcome) {
        await Promise.all([stdout.drained(), stderr.drained()]);
        return outcome;
      }
      if (opened) {
        wasOpened = true;
        lostAt = undefined;
        retryMs = FIRST_RETRY_MS;
      }
      if (error?.reason === "PROCESS_UNKNOWN" && lostAt !== undefined && process.spec && !wasOpened && open.processId) {
        open = { spec: process.spec };
        continue;
      }
      if (!error) throw this.brokenOff();
      if (!isLink(error, lostAt !== undefined)) {
        if (!opened && lostAt === undefined) throw error;
        return await this.endOfZone(error);
      }
      this.isLost = true;
      lostAt ??= performance.now();
      if (performance.now() - lostAt > patienceMs) throw error;
      const ended = await Promise.race([this.options.zoneEnded().then(zoneEnd), pause(retryMs)]);
      if (ended) return ended;
      retryMs = Math.min(retryMs * 2, LONGEST_RETRY_MS);
      open = { processId: process.id, start: process.start || process.spec !== undefined };
    }
  }

  /** One Attach call, from where the streams are. */
  private attach(open: agent.AttachOpen.$Properties): Promise<CallEnd> {
    const { client, zone, stdin, stdout, stderr } = this.options;
    const call = client.attach({ metadata: { "zone-id": zone } });
    this.call = call;
    return new Promise((resolve) => {
      let opened = false;
      let outcome: Outcome | undefined;
      let error: ZoneError | undefined;
      const finish = () => {
        this.isOpen = false;
        stdin?.disconnect();
        resolve({ opened, outcome, error });
      };
      call.on("data", (message: agent.AttachResponse) => {
        if (outcome) return;
        if (message.opened) {
          opened = true;
          this.opened(call, message.opened);
        }
        outcome = this.receive(call, message);
        if (outcome) finish();
      });
      call.on("error", (thrown) => {
        error = ZoneError.from(thrown);
      });
      // "error" and "status" may come before buffered messages have been read; "end" comes after them.
      call.on("end", finish);
      call.write({
        open: { ...open, stdin: stdin !== undefined, stdoutFrom: stdout.received, stderrFrom: stderr.received },
      });
    });
  }

  private opened(call: Call, message: agent.AttachOpened.$Properties): void {
    this.isOpen = true;
    this.isLost = false;
    if (this.lastSize && message.process?.tty) call.write({ resize: this.lastSize });
    for (const number of this.queued.splice(0)) void this.sendSignal(number);
    this.options.stdin?.connect(
      {
        data: (offset, data) => call.write({ stdin: { offset, data } }),
        eof: (offset) => call.write({ stdinEof: { offset } }),
      },
      int64(message.stdinOffset),
    );
  }

  private receive(call: Call, message: agent.AttachResponse): Outcome | undefined {
    if (message.output) {
      const { stream, offset, data } = message.output;
      this.lost(stream, this.sink(stream).take(int64(offset), data ?? new Uint8Array()).gap);
      if (this.pending() > MAX_PENDING_BYTES) call.pause();
    } else if (message.gap) {
      this.lost(message.gap.stream, this.sink(message.gap.stream).skip(int64(message.gap.to)));
    } else if (message.stdinAck) {
      this.options.stdin?.acknowledge(int64(message.stdinAck.offset), message.stdinAck.closed ?? false);
    } else if (message.exit) {
      return { kind: "exited", code: message.exit.code ?? 0, signal: message.exit.signal ?? 0 };
    } else if (message.failed) {
      return { kind: "not-started", failure: message.failed };
    }
    return undefined;
  }

  private sink(stream: agent.OutputStream | null | undefined): OutputSink {
    return stream === agent.OutputStream.OUTPUT_STREAM_STDERR ? this.options.stderr : this.options.stdout;
  }

  private lost(stream: agent.OutputStream | null | undefined, bytes: number): void {
    if (bytes === 0) return;
    const name = stream === agent.OutputStream.OUTPUT_STREAM_STDERR ? "stderr" : "stdout";
    this.options.warn(`${bytes} bytes of ${name} are lost: they were dropped before they could be read`);
  }

  private pending(): number {
    return this.options.stdout.pending + this.options.stderr.pending;
  }

  private async sendSignal(signal: number): Promise<void> {
    const { client, zone, process, warn } = this.options;
    try {
      await client.signal({ id: process.id, signal }, { metadata: { "zone-id": zone }, timeoutMs: 10_000 });
    } catch (thrown) {
      const error = ZoneError.from(thrown);
      // The process had ended already: its exit is on the way.
      if (error.reason !== "PROCESS_NOT_RUNNING" && error.reason !== "PROCESS_UNKNOWN") {
        warn(`cannot pass signal ${signal} on: ${error.message}`);
      }
    }
  }

  /** The process cannot be attached to again: because its zone ended, or for another reason, which is thrown. */
  private async endOfZone(error: ZoneError): Promise<Outcome> {
    const ended = await Promise.race([this.options.zoneEnded().then(zoneEnd), pause(END_GRACE_MS)]);
    if (ended) return ended;
    throw error;
  }

  private brokenOff(): ZoneError {
    const { id } = this.options.process;
    return new ZoneError({
      code: "INTERNAL",
      reason: "ATTACH_BROKEN_OFF",
      message: `attachment to process ${id} ended without its exit status: the process was deleted meanwhile`,
    });
  }
}

/** Whether an attachment that failed like this may succeed later. */
function isLink(error: ZoneError, again: boolean): boolean {
  if (error.code === "UNAVAILABLE") return true;
  // The agent may not have noticed yet that our former call, which held stdin, is gone.
  if (again && error.reason === "STDIN_HELD") return true;
  // What grpc-js makes of a connection that breaks within a call: RST_STREAM, without any details from a peer.
  return (
    error.domain === "grpc" &&
    (error.code === "CANCELLED" || (error.code === "INTERNAL" && /RST_STREAM/.test(error.message)))
  );
}

function zoneEnd(zone: api.Zone | undefined): Outcome {
  return zone ? { kind: "zone-ended", zone } : { kind: "zone-ended" };
}

function pause(ms: number): Promise<undefined> {
  return new Promise((resolve) => setTimeout(() => resolve(undefined), ms));
}
