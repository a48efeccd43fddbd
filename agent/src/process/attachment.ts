import type { zone } from "@zone/proto";
import { agentError, invalid } from "../errors.js";
import { LIMITS } from "../limits.js";
import { exactInteger } from "../numbers.js";
import { toExitMessage, toFailureMessage } from "./info.js";
import type { OutputReader, OutputRecord } from "./output-buffer.js";
import { unknownProcess, type ZoneProcess } from "./process.js";
import { checkWindowSize } from "./spec.js";

type Request = zone.agent.v1.AttachRequest.$Properties;
type Response = zone.agent.v1.AttachResponse.$Properties;

/** OutputStream of process.proto. */
const STDOUT = 1;
const STDERR = 2;

/** The client's side of an attachment: a gRPC stream. */
export interface AttachSink {
  /** Sends; false asks to wait for `Attachment.drained`. `accepted` is called when the transport has taken the message. */
  write(message: Response, accepted: () => void): boolean;
  /** Stops and goes on reading what the client sends. */
  pause(): void;
  resume(): void;
}

/** What a client asked for. */
export interface AttachWishes {
  stdin: boolean;
  stdoutFrom: number;
  stderrFrom: number;
  skipStdout: boolean;
  skipStderr: boolean;
}

/** Reads the wishes of an AttachOpen; INVALID_OFFSET. */
export function attachWishes(open: zone.agent.v1.AttachOpen.$Properties): AttachWishes {
  return {
    stdin: open.stdin ?? false,
    stdoutFrom: offsetField(open.stdoutFrom),
    stderrFrom: offsetField(open.stderrFrom),
    skipStdout: open.skipStdout ?? false,
    skipStderr: open.skipStderr ?? false,
  };
}

/**
 * One client attached to one process. Order of what it sends: `opened` (by the caller, before `begin`), output and gaps in
 * the order of their offsets, each stream's `eof` after its last byte, and `exit` or `failed` after both; stdin's
 * acknowledgements anywhere between.
 *
 * Back-pressure: at most attachWindowBytes of output are in the transport's hands; the rest waits in the process's buffers.
 * At most stdinQueueBytes of stdin wait for the process; then the client's stream is not read. A client that acknowledges
 * output must therefore keep no more unacknowledged stdin in flight than that, or its acknowledgements queue behind it.
 */
export class Attachment {
  readonly #process: ZoneProcess;
  readonly #sink: AttachSink;
  readonly #streams: { id: number; reader: OutputReader }[] = [];
  readonly #holdsStdin: boolean;
  #inFlight = 0;
  #sinkFull = false;
  #paused = false;
  #turn = 0;
  #begun = false;
  #detached = false;
  #unwatch: () => void = () => {};
  /** Told once when everything was sent, or with the error that the call ends with. */
  onDone: (error?: unknown) => void = () => {};

  /** Attaches; OFFSET_IN_FUTURE, STDIN_NOT_OPEN or STDIN_HELD. Nothing is sent before `begin`. */
  constructor(process: ZoneProcess, sink: AttachSink, wishes: AttachWishes) {
    this.#process = process;
    this.#sink = sink;
    this.#holdsStdin = wishes.stdin;
    const { stdout, stderr, meta, stdinHolder } = process;
    if (wishes.stdin && !meta.stdin) {
      throw agentError("FAILED_PRECONDITION", "STDIN_NOT_OPEN", `process "${process.id}" was made without stdin`);
    }
    if (wishes.stdin && stdinHolder) {
      throw agentError(
        "FAILED_PRECONDITION",
        "STDIN_HELD",
        `another client holds the stdin of process "${process.id}"`,
      );
    }
    checkFrom("stdout", wishes.stdoutFrom, wishes.skipStdout ? Number.MAX_SAFE_INTEGER : stdout.end);
    if (stderr) checkFrom("stderr", wishes.stderrFrom, wishes.skipStderr ? Number.MAX_SAFE_INTEGER : stderr.end);
    this.#streams.push({ id: STDOUT, reader: stdout.attach(wishes.stdoutFrom, { skip: wishes.skipStdout }) });
    if (stderr)
      this.#streams.push({ id: STDERR, reader: stderr.attach(wishes.stderrFrom, { skip: wishes.skipStderr }) });
    if (wishes.stdin) process.stdinHolder = this;
    process.attached++;
  }

  /** Begins to send: the replay first. */
  begin(): void {
    this.#begun = true;
    this.#unwatch = this.#process.watch(() => this.#pump());
    for (const { reader } of this.#streams) reader.onReadable = () => this.#pump();
    const { stdin } = this.#process;
    if (this.#holdsStdin) {
      if (stdin) stdin.onAccepted = () => this.#acknowledgeStdin();
      if (stdin?.closed !== false) this.#acknowledgeStdin();
    }
    this.#pump();
  }

  /** The transport takes messages again. */
  drained(): void {
    this.#sinkFull = false;
    this.#pump();
  }

  /** A message from the client, not the first. Throws what the call must end with. */
  receive(request: Request): void {
    if (this.#detached) return;
    if (request.stdin) this.#receiveStdin(offsetField(request.stdin.offset), request.stdin.data ?? new Uint8Array());
    else if (request.stdinEof) this.#endStdin(offsetField(request.stdinEof.offset));
    else if (request.resize) this.#resize(request.resize);
    else if (request.ack) this.#acknowledge(request.ack);
    else
      throw invalid("OPEN_EXPECTED", "an Attach carries `open` first and once, then stdin, stdin_eof, resize or ack");
  }

  /** Lets go of the process, which runs on. Idempotent. */
  detach(): void {
    if (this.#detached) return;
    this.#detached = true;
    this.#unwatch();
    for (const { reader } of this.#streams) reader.detach();
    this.#process.attached--;
    if (!this.#holdsStdin) return;
    this.#process.stdinHolder = undefined;
    if (this.#process.stdin) this.#process.stdin.onAccepted = () => {};
  }

  #receiveStdin(offset: number, data: Uint8Array): void {
    this.#checkHold();
    if (data.length > LIMITS.chunkBytes) {
      throw invalid("INVALID_SIZE", `a stdin message has ${data.length} bytes; at most ${LIMITS.chunkBytes} are taken`);
    }
    const { stdin } = this.#process;
    if (!stdin) {
      this.#acknowledgeStdin();
      return;
    }
    stdin.write(offset, data);
    if (stdin.queued < LIMITS.stdinQueueBytes || this.#paused) return;
    this.#paused = true;
    this.#sink.pause();
  }

  #endStdin(offset: number): void {
    this.#checkHold();
    const { stdin } = this.#process;
    if (stdin) stdin.end(offset);
    else this.#acknowledgeStdin();
  }

  #checkHold(): void {
    if (this.#holdsStdin) return;
    throw agentError("FAILED_PRECONDITION", "STDIN_NOT_OPEN", "this call does not hold stdin: open it with `stdin`");
  }

  #resize(size: zone.agent.v1.WindowSize.$Properties): void {
    const checked = checkWindowSize(size);
    // A resize that crosses the end of the process is no reason to lose its exit.
    if (this.#process.meta.tty && ["draining", "exited", "failed"].includes(this.#process.state.name)) return;
    this.#process.resize(checked);
  }

  #acknowledge(ack: zone.agent.v1.OutputAck.$Properties): void {
    const stream = this.#streams.find(({ id }) => id === ack.stream);
    if (!stream) throw invalid("INVALID_OFFSET", `there is no output stream ${ack.stream ?? 0}`);
    try {
      stream.reader.acknowledge(offsetField(ack.offset));
    } catch (error) {
      if (error instanceof RangeError) throw invalid("INVALID_OFFSET", error.message);
      throw error;
    }
  }

  #acknowledgeStdin(): void {
    const { stdin } = this.#process;
    const closed = stdin?.closed ?? true;
    this.#send({ stdinAck: { offset: stdin?.accepted ?? 0, closed } }, () => {});
    if (!this.#paused || (stdin && !closed && stdin.queued >= LIMITS.stdinQueueBytes)) return;
    this.#paused = false;
    this.#sink.resume();
  }

  /** Sends what there is, as far as the window and the transport allow. */
  #pump(): void {
    if (!this.#begun || this.#detached) return;
    if (this.#process.deleted) {
      this.#finish(unknownProcess(this.#process.id));
      return;
    }
    while (!this.#sinkFull && this.#inFlight < LIMITS.attachWindowBytes) {
      const next = this.#nextRecord();
      if (!next) break;
      this.#sendRecord(next.id, next.reader, next.record);
    }
    if (this.#process.ended && this.#streams.every(({ reader }) => reader.ended)) this.#sendEnd();
  }

  /** The streams take turns, so that a busy one does not starve the other. */
  #nextRecord(): { id: number; reader: OutputReader; record: OutputRecord } | undefined {
    for (let i = 0; i < this.#streams.length; i++) {
      const stream = this.#streams[(this.#turn + i) % this.#streams.length];
      const record = stream?.reader.next(LIMITS.chunkBytes);
      if (!stream || !record) continue;
      this.#turn = (this.#turn + i + 1) % this.#streams.length;
      return { ...stream, record };
    }
    return undefined;
  }

  #sendRecord(stream: number, reader: OutputReader, record: OutputRecord): void {
    switch (record.kind) {
      case "data": {
        const { offset, data } = record;
        this.#inFlight += data.length;
        this.#send({ output: { stream, offset, data } }, () => {
          this.#inFlight -= data.length;
          if (this.#detached) return;
          reader.delivered(offset + data.length);
          this.#pump();
        });
        return;
      }
      case "gap":
        this.#send({ gap: { stream, from: record.from, to: record.to } }, () => {});
        return;
      case "eof":
        this.#send({ eof: { stream, offset: record.offset, heldOpen: record.heldOpen } }, () => {});
        return;
    }
  }

  #sendEnd(): void {
    const { state } = this.#process;
    if (state.name === "exited") this.#send({ exit: toExitMessage(state.exit) }, () => {});
    else if (state.name === "failed") this.#send({ failed: toFailureMessage(state.failure) }, () => {});
    this.#finish();
  }

  #finish(error?: unknown): void {
    this.detach();
    this.onDone(error);
  }

  #send(message: Response, accepted: () => void): void {
    if (!this.#sink.write(message, accepted)) this.#sinkFull = true;
  }
}

function offsetField(field: number | null | undefined): number {
  const offset = exactInteger(field);
  if (offset === undefined) throw invalid("INVALID_OFFSET", `offset ${field} is beyond what is counted`);
  return offset;
}

function checkFrom(stream: string, from: number, end: number): void {
  if (from <= end) return;
  throw agentError("OUT_OF_RANGE", "OFFSET_IN_FUTURE", `${stream} offset ${from} is beyond the ${end} bytes written`);
}
