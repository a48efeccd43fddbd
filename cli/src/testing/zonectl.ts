import { type ChildProcessByStdio, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable, Writable } from "node:stream";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import type { IPty } from "node-pty";
import { pty } from "./pty.js";
import { TestBridge } from "./test-bridge.js";

const CLI = fileURLToPath(new URL("../..", import.meta.url));

/** What a finished zonectl left. */
export interface Result {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: Buffer;
  readonly stderr: string;
}

/** A zonectl that runs, with pipes. */
export interface RunningCli {
  readonly child: ChildProcessByStdio<Writable, Readable, Readable>;
  readonly result: Promise<Result>;
}

/** A folder with the built binary (laid out as the repository) and a bridge; a test file makes one. */
export class CliFixture {
  private constructor(
    readonly folder: string,
    readonly binary: string,
    readonly bridge: TestBridge,
  ) {}

  static async make(): Promise<CliFixture> {
    const folder = mkdtempSync(join(tmpdir(), "zonectl-"));
    await build({
      entryPoints: { zonectl: join(CLI, "src/main.ts") },
      outdir: join(folder, "cli/build"),
      outExtension: { ".js": ".mjs" },
      bundle: true,
      splitting: true,
      platform: "node",
      target: "node20",
      format: "esm",
      logLevel: "error",
      banner: { js: 'import { createRequire as __r } from "node:module"; const require = __r(import.meta.url);' },
    });
    const bridge = new TestBridge(join(folder, "bridge.sock"));
    await bridge.listen();
    return new CliFixture(folder, join(folder, "cli/build/zonectl.mjs"), bridge);
  }

  async close(): Promise<void> {
    await this.bridge.close();
    rmSync(this.folder, { recursive: true, force: true });
  }

  env(more: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
    return {
      PATH: process.env.PATH,
      HOME: "/root",
      TERM: "xterm",
      ZONE_BRIDGE: this.bridge.path,
      ZONE_NO_AUTOSTART: "1",
      ...more,
    };
  }

  /** Starts zonectl with pipes. */
  start(args: readonly string[], env: NodeJS.ProcessEnv = {}): RunningCli {
    const child = spawn(process.execPath, ["--", this.binary, ...args], { stdio: "pipe", env: this.env(env) });
    const stdout: Buffer[] = [];
    const stderr: Buffer[] = [];
    child.stdout.on("data", (data: Buffer) => stdout.push(data));
    child.stderr.on("data", (data: Buffer) => stderr.push(data));
    child.stdin.on("error", () => {}); // a zonectl that has ended reads no more
    const result = new Promise<Result>((resolve) => {
      child.on("close", (code, signal) =>
        resolve({ code, signal, stdout: Buffer.concat(stdout), stderr: Buffer.concat(stderr).toString() }),
      );
    });
    return { child, result };
  }

  /** Runs zonectl to its end. */
  run(
    args: readonly string[],
    options: { input?: Uint8Array | string; env?: NodeJS.ProcessEnv } = {},
  ): Promise<Result> {
    const { child, result } = this.start(args, options.env);
    child.stdin.end(options.input ?? "");
    return result;
  }

  /** Runs a line of bash in which `zonectl` is the binary. */
  shell(line: string, env: NodeJS.ProcessEnv = {}): Promise<Result> {
    return collect(
      spawn("bash", ["-c", `zonectl() { ${process.execPath} -- ${this.binary} "$@"; }; ${line}`], {
        stdio: "pipe",
        env: this.env(env),
      }),
    );
  }

  /** Starts zonectl in a terminal. */
  terminal(args: readonly string[], size = { rows: 30, columns: 100 }, env: NodeJS.ProcessEnv = {}): TerminalCli {
    return new TerminalCli(
      pty.spawn(process.execPath, ["--", this.binary, ...args], {
        encoding: null,
        rows: size.rows,
        cols: size.columns,
        env: this.env(env) as Record<string, string>,
      }),
    );
  }

  /** Starts a shell in a terminal, in which `zonectl` is the binary. */
  terminalShell(line: string): TerminalCli {
    const script = `zonectl() { ${process.execPath} -- ${this.binary} "$@"; }; ${line}`;
    return new TerminalCli(
      pty.spawn("bash", ["-c", script], {
        encoding: null,
        rows: 30,
        cols: 100,
        env: this.env() as Record<string, string>,
      }),
    );
  }
}

function collect(child: ChildProcessByStdio<Writable, Readable, Readable>): Promise<Result> {
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  child.stdin.end();
  child.stdout.on("data", (data: Buffer) => stdout.push(data));
  child.stderr.on("data", (data: Buffer) => stderr.push(data));
  return new Promise((resolve) => {
    child.on("close", (code, signal) =>
      resolve({ code, signal, stdout: Buffer.concat(stdout), stderr: Buffer.concat(stderr).toString() }),
    );
  });
}

/** A program in a pseudoterminal of ours. */
export class TerminalCli {
  output = Buffer.alloc(0);
  readonly exit: Promise<{ code: number; signal: number }>;
  private waiting: (() => void)[] = [];

  constructor(readonly pty: IPty) {
    pty.onData((data) => {
      this.output = Buffer.concat([this.output, Buffer.from(data as unknown as Uint8Array)]);
      for (const wake of this.waiting.splice(0)) wake();
    });
    this.exit = new Promise((resolve) => {
      pty.onExit(({ exitCode, signal }) => resolve({ code: exitCode, signal: signal ?? 0 }));
    });
  }

  get text(): string {
    return this.output.toString();
  }

  write(data: string | Buffer): void {
    this.pty.write(data as string);
  }

  /** Waits until the output matches. */
  async until(pattern: RegExp | string): Promise<void> {
    const isThere = () => (typeof pattern === "string" ? this.text.includes(pattern) : pattern.test(this.text));
    while (!isThere()) {
      await Promise.race([
        new Promise<void>((resolve) => this.waiting.push(resolve)),
        this.exit.then(() => {
          if (!isThere()) throw new Error(`ended without ${pattern}: ${JSON.stringify(this.text)}`);
        }),
      ]);
    }
  }
}

/** Polls a condition of another process. */
export async function eventually(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
}
