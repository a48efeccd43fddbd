import { type ChildProcess, type SpawnOptions, spawn } from "node:child_process";

/** What a program did. */
export interface Outcome {
  /** Exit status; 128 + n when signal n killed it, as a shell says. */
  code: number;
  stdout: Buffer;
  stderr: string;
}

export interface RunOptions {
  /** Written to stdin, which is then closed; stdin is /dev/null otherwise. */
  input?: Buffer | string;
  env?: Record<string, string>;
  cwd?: string;
  /** Called with the child once it runs. */
  onSpawn?: (child: ChildProcess) => void;
}

const SIGNALS: Partial<Record<NodeJS.Signals, number>> = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGQUIT: 3,
  SIGKILL: 9,
  SIGPIPE: 13,
  SIGTERM: 15,
};

/** Runs a program to its end; never rejects for its exit status. */
export function runProgram(file: string, args: string[], options: RunOptions = {}): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const spawnOptions: SpawnOptions = {
      stdio: [options.input === undefined ? "ignore" : "pipe", "pipe", "pipe"],
      env: { ...process.env, ...options.env },
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    };
    const child = spawn(file, args, spawnOptions);
    const stdout: Buffer[] = [];
    const stderr: Buffer[] = [];
    child.stdout?.on("data", (data: Buffer) => stdout.push(data));
    child.stderr?.on("data", (data: Buffer) => stderr.push(data));
    child.once("error", reject);
    child.once("close", (code, signal) => {
      const status = code ?? 128 + ((signal && SIGNALS[signal]) ?? 0);
      resolve({ code: status, stdout: Buffer.concat(stdout), stderr: Buffer.concat(stderr).toString() });
    });
    // A program that ends without reading its input breaks the pipe; its exit status tells what matters.
    child.stdin?.on("error", () => undefined);
    child.stdin?.end(options.input);
    options.onSpawn?.(child);
  });
}

/** Runs a program that must succeed; the error carries its stderr. */
export async function must(file: string, args: string[], options: RunOptions = {}): Promise<string> {
  const outcome = await runProgram(file, args, options);
  if (outcome.code !== 0) throw new Error(`${file} ${args.join(" ")}: exit ${outcome.code}\n${outcome.stderr}`);
  return outcome.stdout.toString();
}
