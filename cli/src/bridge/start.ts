import { type ChildProcess, spawn } from "node:child_process";
import { accessSync, closeSync, constants, fstatSync, mkdirSync, openSync, readFileSync, statSync } from "node:fs";
import { connect } from "node:net";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { UsageError } from "../parse/usage-error.js";
import type { BridgeAddress } from "./address.js";

/** How long a bridge may take to answer. */
const START_MS = 20_000;
const POLL_MS = 20;
/** flock's answer when someone else has the lock. */
const CONFLICT = 75;
/** How often to try for the lock that another zonectl has. */
const RETRY_MS = 500;

/** What connecting to the socket says: nothing runs there ("absent"), or another errno. */
type Probe =
  | { readonly kind: "up" }
  | { readonly kind: "absent" }
  | { readonly kind: "failed"; readonly errno: string };

/**
 * Sees that a bridge answers at `address`, starting one if need be and allowed. `waiting` is called when that takes place.
 * Throws a UsageError that says what to do.
 */
export async function ensureBridge(address: BridgeAddress, env: NodeJS.ProcessEnv, waiting: () => void): Promise<void> {
  const probe = await probeSocket(address.path);
  if (probe.kind === "up") return;
  if (probe.kind === "failed") throw new UsageError(unreachable(address.path, probe.errno));
  if (!address.autostart) {
    throw new UsageError(
      `cannot reach the bridge at ${address.path}: it does not run; start zone-bridge, or check the path`,
    );
  }
  if (process.getuid?.() !== 0) {
    throw new UsageError(
      `cannot start the bridge at ${address.path}: only root can; use sudo, or start zone-bridge as a service`,
    );
  }
  waiting();
  await startBridge(address, env);
}

/** Whether a bridge answers there. */
export async function isBridgeUp(path: string): Promise<boolean> {
  return (await probeSocket(path)).kind === "up";
}

function probeSocket(path: string): Promise<Probe> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once("connect", () => {
      socket.destroy();
      resolve({ kind: "up" });
    });
    socket.once("error", (error: NodeJS.ErrnoException) => {
      const isAbsent = error.code === "ENOENT" || error.code === "ECONNREFUSED";
      resolve(isAbsent ? { kind: "absent" } : { kind: "failed", errno: error.code ?? error.message });
    });
  });
}

/**
 * Starts a bridge and waits until it answers.
 *
 * Two zonectls may do this at once, and a third a moment later: each starts the bridge under flock(1), so the kernel lets one
 * through, and the lock lives exactly as long as the bridge that it was given to. The others wait for the socket, and
 * try for the lock again in case the one with the lock dies.
 */
async function startBridge(address: BridgeAddress, env: NodeJS.ProcessEnv): Promise<void> {
  const command = bridgeCommand(env);
  const logPath = join(address.runDirectory, "bridge.log");
  mkdirSync(address.runDirectory, { recursive: true, mode: 0o755 });
  const log = openSync(logPath, "a", 0o640);
  try {
    const logStart = fstatSync(log).size;
    const deadline = performance.now() + START_MS;
    let attempt = launch(address, command, log, env);
    while (performance.now() < deadline) {
      if ((await probeSocket(address.path)).kind === "up") return;
      if (attempt.failure) {
        if (attempt.failure.code !== CONFLICT)
          throw new UsageError(died(address.path, attempt.failure, logPath, logStart));
        if (performance.now() - attempt.startedAt > RETRY_MS) attempt = launch(address, command, log, env);
      }
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
    throw new UsageError(`the bridge at ${address.path} does not answer after ${START_MS / 1000} s; see ${logPath}`);
  } finally {
    closeSync(log);
  }
}

interface Failure {
  readonly code: number | null;
  readonly text: string;
}

function launch(address: BridgeAddress, command: readonly string[], log: number, env: NodeJS.ProcessEnv) {
  const attempt: { startedAt: number; failure?: Failure } = { startedAt: performance.now() };
  const lock = join(address.runDirectory, "bridge.start.lock");
  const flags = ["--nonblock", "--no-fork", "--conflict-exit-code", String(CONFLICT)];
  const child: ChildProcess = spawn("flock", [...flags, lock, ...command], {
    cwd: "/",
    detached: true,
    stdio: ["ignore", log, log],
    env,
  });
  child.once("exit", (code, signal) => {
    attempt.failure = { code, text: signal ? `it was killed by ${signal}` : `it exited with ${code}` };
  });
  child.once("error", (error) => {
    attempt.failure = { code: null, text: `flock cannot be run (${error.message})` };
  });
  child.unref();
  return attempt;
}

/** The bridge's bundle in this repository, or zone-bridge on PATH. */
function bridgeCommand(env: NodeJS.ProcessEnv): readonly string[] {
  const bundle = fileURLToPath(new URL("../../host-bridge/build/zone-bridge.mjs", import.meta.url));
  if (statSync(bundle, { throwIfNoEntry: false })) return [process.execPath, bundle];
  for (const folder of (env.PATH ?? "").split(delimiter).filter((entry) => entry.startsWith("/"))) {
    const path = join(folder, "zone-bridge");
    try {
      accessSync(path, constants.X_OK);
      return [path];
    } catch {
      // Not in this folder of PATH.
    }
  }
  throw new UsageError(
    `cannot start the bridge: neither ${bundle} nor zone-bridge on PATH exists; run \`npm run setup\` first`,
  );
}

function died(path: string, failure: Failure, logPath: string, from: number): string {
  const lines = readFileSync(logPath).subarray(from).toString().split("\n");
  // A crash of Node ends with its stack and version; what matters is above them.
  const last = lines.findLast((line) => /^\S/.test(line) && !line.startsWith("Node.js v") && line !== "}");
  return `cannot start the bridge at ${path}: ${messageOf(last ?? failure.text)}; its log is ${logPath}`;
}

/** The bridge logs lines of JSON; a crash of Node is plain text. */
function messageOf(line: string): string {
  try {
    const parsed: unknown = JSON.parse(line);
    if (typeof parsed === "object" && parsed !== null && "msg" in parsed && typeof parsed.msg === "string")
      return parsed.msg;
  } catch {
    // Plain text.
  }
  return line.slice(0, 400);
}

function unreachable(path: string, errno: string): string {
  if (errno === "EACCES" || errno === "EPERM") {
    return `cannot reach the bridge at ${path}: permission denied; use sudo, or ask for access to the socket`;
  }
  return `cannot reach the bridge at ${path}: ${errno}; check the path`;
}
