import { agentError } from "../errors.js";
import { LIMITS } from "../limits.js";
import type { ProcessMeta } from "./meta.js";
import type { OffsetFile, StdioStream } from "./offset-file.js";
import { OutputBuffer } from "./output-buffer.js";
import { OutputPump } from "./output-pump.js";
import { type Exit, type Failure, type ProcessEvent, type ProcessState, transition } from "./state.js";
import { Stdin } from "./stdin.js";
import type { AgentStdio } from "./stdio.js";

/** One process: its state, its stdio, and who is told of changes. It starts nothing itself; see ProcessTable. */
export class ZoneProcess {
  readonly meta: ProcessMeta;
  readonly argv: readonly Uint8Array[];
  /** PID 1's name for it. */
  readonly token: bigint;
  readonly stdout: OutputBuffer;
  /** Undefined with a tty. */
  readonly stderr: OutputBuffer | undefined;
  /** Undefined when nothing can be written. */
  readonly stdin: Stdin | undefined;
  /** Clients that are attached. */
  attached = 0;
  /** The client that holds stdin. */
  stdinHolder: object | undefined;
  readonly stdio: AgentStdio | undefined;
  readonly #pumps: OutputPump[];
  readonly #watchers = new Set<() => void>();
  #state: ProcessState = { name: "created" };
  #deleted = false;
  #grace: NodeJS.Timeout | undefined;
  /** An exit that was told before exec's success was: the two come in one batch from PID 1. */
  #earlyExit: Exit | undefined;

  /** Owns `stdio`. Offsets go on where `offsets` has them: at 0, unless an earlier agent had the process. */
  constructor(
    token: bigint,
    meta: ProcessMeta,
    argv: readonly Uint8Array[],
    stdio: AgentStdio | undefined,
    offsets: OffsetFile,
  ) {
    this.token = token;
    this.meta = meta;
    this.argv = argv;
    this.stdio = stdio;
    const record = (stream: StdioStream) => (offset: number) => offsets.set(token, stream, offset);
    const buffer = (stream: StdioStream) =>
      new OutputBuffer(meta.outputBufferBytes, meta.outputPolicy, offsets.get(token, stream));
    this.stdout = buffer("stdout");
    this.stderr = meta.tty ? undefined : buffer("stderr");
    this.stdin = stdio?.stdin && new Stdin(stdio.stdin, offsets.get(token, "stdin"), record("stdin"));
    const streams = [
      { stream: "stdout", socket: stdio?.stdout, buffer: this.stdout },
      { stream: "stderr", socket: stdio?.stderr, buffer: this.stderr },
    ] as const;
    this.#pumps = streams.flatMap(({ stream, socket, buffer }) =>
      socket && buffer ? [new OutputPump(socket, buffer, record(stream), () => this.#checkDrained())] : [],
    );
    if (!stdio) for (const { buffer } of streams) buffer?.close(true);
  }

  get id(): string {
    return this.meta.id;
  }

  get state(): ProcessState {
    return this.#state;
  }

  /** EXITED or FAILED. */
  get ended(): boolean {
    return this.#state.name === "exited" || this.#state.name === "failed";
  }

  /** Whether PID 1 has reaped it before it was known to be started. */
  get exitedEarly(): boolean {
    return this.#earlyExit !== undefined;
  }

  get deleted(): boolean {
    return this.#deleted;
  }

  /** Calls `watcher` after every change of state, until the returned function is called. */
  watch(watcher: () => void): () => void {
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  /** Settles when it has ended; rejects with PROCESS_UNKNOWN when it is deleted before, or when `signal` is aborted. */
  async whenEnded(signal: AbortSignal): Promise<void> {
    if (this.ended) return;
    await new Promise<void>((resolve, reject) => {
      const look = () => {
        if (!this.ended && !this.#deleted && !signal.aborted) return;
        unwatch();
        signal.removeEventListener("abort", look);
        if (this.ended) resolve();
        else
          reject(
            signal.aborted ? agentError("CANCELLED", "CANCELLED", "the call was cancelled") : unknownProcess(this.id),
          );
      };
      const unwatch = this.watch(look);
      signal.addEventListener("abort", look);
    });
  }

  /** Settles when PID 1 has reaped it, or it was never started. */
  async whenReaped(): Promise<void> {
    while (["starting", "running"].includes(this.#state.name)) await this.#nextChange();
  }

  /** Settles when it is not STARTING: exec has succeeded or failed, or was not asked for. */
  async whenStarted(): Promise<void> {
    while (this.#state.name === "starting") await this.#nextChange();
  }

  #nextChange(): Promise<void> {
    return new Promise((resolve) => {
      const unwatch = this.watch(() => {
        unwatch();
        resolve();
      });
    });
  }

  /** CREATED -> STARTING; PROCESS_NOT_CREATED otherwise. */
  starting(): void {
    if (this.#state.name !== "created") {
      throw agentError("FAILED_PRECONDITION", "PROCESS_NOT_CREATED", `process "${this.id}" is ${this.#state.name}`);
    }
    this.#move({ type: "start" });
  }

  /** exec has succeeded. */
  spawned(pid: number, at: number): void {
    this.#move({ type: "spawned", pid, at });
    if (this.#earlyExit) this.reaped(this.#earlyExit);
  }

  /** exec did not happen. */
  failed(failure: Failure): void {
    this.stdin?.close();
    this.stdio?.destroy();
    for (const buffer of [this.stdout, this.stderr]) buffer?.close(false);
    this.#move({ type: "failed", failure });
  }

  /** PID 1 has reaped it. What it left in its pipes is read before it counts as ended: exit follows output. */
  reaped(exit: Exit): void {
    if (this.#state.name === "starting") {
      this.#earlyExit = exit;
      return;
    }
    this.#move({ type: "reaped", exit });
    this.stdin?.close();
    for (const pump of this.#pumps) pump.buffer.grow(LIMITS.pipeBytes);
    this.#armGrace();
    this.#checkDrained();
  }

  /** The descriptors that PID 1 keeps duplicates of; `dropKept` is called when stdin's must go. */
  kept(dropKept: (index: number) => void): number[] {
    if (!this.stdio) return [];
    this.stdio.onStdinClosed = dropKept;
    return this.stdio.kept();
  }

  /** Sets the tty's size; NO_TTY, or PROCESS_NOT_RUNNING when it is over. */
  resize(size: { rows: number; columns: number }): void {
    if (!this.meta.tty) throw agentError("FAILED_PRECONDITION", "NO_TTY", `process "${this.id}" has no tty`);
    if (!this.stdio || this.ended) throw notRunning(this);
    this.stdio.resize(size);
  }

  /** Forgets it; it must be CREATED or have ended. */
  delete(): void {
    this.#deleted = true;
    this.stdio?.destroy();
    this.#tell();
  }

  #move(event: ProcessEvent): void {
    this.#state = transition(this.#state, event);
    this.#tell();
  }

  #tell(): void {
    for (const watcher of [...this.#watchers]) watcher();
  }

  /**
   * The drain grace bounds how long a descendant can delay the exit by holding a stream open. It starts again while an
   * attached client is what holds the stream up: what that client has not taken yet must not be lost.
   */
  #armGrace(): void {
    this.#grace = setTimeout(() => {
      for (const pump of this.#pumps) if (!pump.ended && !pump.heldUp) pump.abandon();
      if (this.#state.name === "draining") this.#armGrace();
    }, this.meta.drainGraceMs);
  }

  #checkDrained(): void {
    if (this.#state.name !== "draining" || this.#pumps.some((pump) => !pump.ended)) return;
    clearTimeout(this.#grace);
    this.#move({ type: "drained" });
  }
}

export function unknownProcess(id: string): Error {
  return agentError("NOT_FOUND", "PROCESS_UNKNOWN", `there is no process "${id.slice(0, LIMITS.idLength)}"`, {
    resource: { type: "process", name: id.slice(0, LIMITS.idLength) },
  });
}

export function notRunning(process: ZoneProcess): Error {
  return agentError("FAILED_PRECONDITION", "PROCESS_NOT_RUNNING", `process "${process.id}" is ${process.state.name}`);
}
