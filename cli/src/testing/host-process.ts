import { type ChildProcessByStdio, spawn } from "node:child_process";
import { accessSync, constants, statSync } from "node:fs";
import type { Readable, Writable } from "node:stream";
import { ZoneError } from "@zone/proto";
import type { agent } from "../messages.js";
import { pty } from "./pty.js";

/** How a process ended. */
export interface Exit {
  readonly code: number;
  readonly signal: number;
}

/** One output stream: all bytes so far (a test's amount), and whether there will be more. */
export interface KeptOutput {
  readonly name: "stdout" | "stderr";
  bytes: Buffer;
  isEof: boolean;
}

/** How far output may run ahead of the slowest attached client before the process is stopped. */
const BUFFER_BYTES = 1024 * 1024;

interface Running {
  readonly pid: number;
  writeStdin(data: Uint8Array, accepted: (error: Error | undefined) => void): void;
  endStdin(): void;
  resize(rows: number, columns: number): void;
  pause(name: "stdout" | "stderr", on: boolean): void;
}

/**
 * A process of this host in the role of a zone's process, with the stdio contract of zone.agent.v1.Process as far as zonectl
 * depends on it. A stand-in for tests of zonectl: no container, no user, no limits.
 */
export class HostProcess {
  readonly outputs: KeptOutput[];
  exit: Exit | undefined;
  failure: { reason: string; message: string; exitCode: number } | undefined;
  stdinTaken = 0;
  stdinAccepted = 0;
  stdinClosed = false;
  readonly signals: number[] = [];
  readonly sizes: string[] = [];
  /** Called at each change; attachments send what they have not sent. */
  readonly listeners = new Set<() => void>();
  /** Per attached client: how far it has acknowledged each stream. */
  readonly acknowledged = new Set<Map<string, number>>();
  private running: Running | undefined;

  constructor(
    readonly id: string,
    readonly spec: agent.ProcessSpec.$Properties,
  ) {
    this.outputs = [{ name: "stdout", bytes: Buffer.alloc(0), isEof: false }];
    if (!spec.tty) this.outputs.push({ name: "stderr", bytes: Buffer.alloc(0), isEof: false });
  }

  get state(): "created" | "running" | "ended" {
    if (this.exit || this.failure) return "ended";
    return this.running ? "running" : "created";
  }

  get pid(): number {
    return this.running?.pid ?? 0;
  }

  start(): void {
    const argv = (this.spec.argv ?? []).map((arg) => Buffer.from(arg));
    this.failure = lookUp(argv[0]?.toString() ?? "");
    if (this.failure) {
      for (const output of this.outputs) output.isEof = true;
      this.changed();
      return;
    }
    const env = (this.spec.env ?? []).map((entry) => Buffer.from(entry));
    const script = `exec env -i ${[...env, ...argv].map(bashQuoted).join(" ")}`;
    this.running = this.spec.tty ? this.startTty(script, this.spec.tty) : this.startPipes(script);
    this.changed();
  }

  signal(number: number): void {
    if (this.state !== "running") throw precondition("PROCESS_NOT_RUNNING", `process ${this.id} does not run`);
    this.signals.push(number);
    process.kill(this.pid, number);
  }

  resize(rows: number, columns: number): void {
    this.sizes.push(`${rows}x${columns}`);
    this.running?.resize(rows, columns);
  }

  /** Takes bytes of stdin; `accepted` is called when they are written to the process, and counted in `stdinAccepted`. */
  stdin(offset: number, data: Uint8Array, accepted: () => void): void {
    const fresh = data.subarray(Math.max(0, this.stdinTaken - offset));
    if (this.stdinClosed || fresh.length === 0) {
      accepted();
      return;
    }
    this.stdinTaken += fresh.length;
    this.running?.writeStdin(fresh, (error) => {
      if (error) this.stdinClosed = true;
      this.stdinAccepted += fresh.length;
      accepted();
    });
  }

  endStdin(): void {
    this.running?.endStdin();
  }

  /** Applies back-pressure: to be called when an acknowledgement has come or a client has gone. */
  balance(): void {
    for (const { name, bytes } of this.outputs) {
      const slowest = Math.min(...[...this.acknowledged].map((client) => client.get(name) ?? 0));
      this.running?.pause(name, Number.isFinite(slowest) && bytes.length - slowest > BUFFER_BYTES);
    }
  }

  private changed(): void {
    for (const listener of [...this.listeners]) listener();
  }

  private took(name: "stdout" | "stderr", data: Buffer): void {
    const output = this.outputs.find((candidate) => candidate.name === name);
    if (output) output.bytes = Buffer.concat([output.bytes, data]);
    this.balance();
    this.changed();
  }

  private ended(exit: Exit): void {
    for (const output of this.outputs) output.isEof = true;
    this.exit = exit;
    this.changed();
  }

  private startPipes(script: string): Running {
    const child: ChildProcessByStdio<Writable, Readable, Readable> = spawn("bash", ["-c", script], { stdio: "pipe" });
    if (!this.spec.stdin) child.stdin.end();
    child.stdin.on("error", () => {
      this.stdinClosed = true;
    });
    child.stdout.on("data", (data: Buffer) => this.took("stdout", data));
    child.stderr.on("data", (data: Buffer) => this.took("stderr", data));
    child.on("close", (code, signal) => this.ended({ code: code ?? 0, signal: signal ? signalNumber(signal) : 0 }));
    return {
      pid: child.pid ?? 0,
      writeStdin: (data, accepted) => void child.stdin.write(data, (error) => accepted(error ?? undefined)),
      endStdin: () => child.stdin.end(),
      resize: () => {},
      pause: (name, on) => void (on ? child[name].pause() : child[name].resume()),
    };
  }

  private startTty(script: string, size: agent.WindowSize.$Properties): Running {
    const { rows, columns } = size;
    const options = { encoding: null, rows: rows ?? 24, cols: columns ?? 80 };
    const terminal = pty.spawn("bash", ["-c", script], options);
    this.sizes.push(`${rows}x${columns}`);
    terminal.onData((data) => this.took("stdout", Buffer.from(data as unknown as Uint8Array)));
    terminal.onExit(({ exitCode, signal }) => this.ended({ code: signal ? 0 : exitCode, signal: signal ?? 0 }));
    return {
      pid: terminal.pid,
      writeStdin: (data, accepted) => {
        terminal.write(Buffer.from(data));
        accepted(undefined);
      },
      endStdin: () => terminal.write("\x04"),
      resize: (r, c) => {
        try {
          terminal.resize(c, r);
        } catch {
          // It has just ended; node-pty has closed its descriptor before it tells.
        }
      },
      pause: (_name, on) => (on ? terminal.pause() : terminal.resume()),
    };
  }
}

function precondition(reason: string, message: string): ZoneError {
  return new ZoneError({ code: "FAILED_PRECONDITION", reason, message, domain: "zone.agent" });
}

function signalNumber(name: NodeJS.Signals): number {
  const numbers: Partial<Record<NodeJS.Signals, number>> = {
    SIGHUP: 1,
    SIGINT: 2,
    SIGQUIT: 3,
    SIGKILL: 9,
    SIGUSR1: 10,
    SIGPIPE: 13,
    SIGTERM: 15,
  };
  return numbers[name] ?? 1;
}

/** What exec(2) would fail with. */
function lookUp(program: string): HostProcess["failure"] {
  const paths = program.includes("/")
    ? [program]
    : ["/usr/bin", "/bin", "/usr/sbin", "/sbin"].map((folder) => `${folder}/${program}`);
  const existing = paths.find((path) => statSync(path, { throwIfNoEntry: false }));
  if (!existing) return { reason: "EXEC_NOT_FOUND", message: `cannot run ${program}: not found`, exitCode: 127 };
  try {
    if (statSync(existing).isDirectory()) throw new Error("a folder");
    accessSync(existing, constants.X_OK);
    return undefined;
  } catch {
    return { reason: "EXEC_NOT_EXECUTABLE", message: `cannot run ${program}: permission denied`, exitCode: 126 };
  }
}

/** Bytes for bash's $'...': whatever they are, they pass. */
function bashQuoted(bytes: Buffer): string {
  const safe = [...bytes].map((byte) => {
    const isPlain = (byte >= 0x30 && byte <= 0x39) || (byte >= 0x41 && byte <= 0x5a) || (byte >= 0x61 && byte <= 0x7a);
    return isPlain || byte === 0x20 || byte === 0x2f
      ? String.fromCharCode(byte)
      : `\\x${byte.toString(16).padStart(2, "0")}`;
  });
  return `$'${safe.join("")}'`;
}
