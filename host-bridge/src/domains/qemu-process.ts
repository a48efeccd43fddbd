import { type ChildProcess, spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import type { ZoneError } from "@zone/proto";
import { bridgeError } from "../errors.js";

/** Another user than the bridge's, so that the kernel keeps VMMs from each other and from the host's files. */
export interface Identity {
  uid: number;
  gid: number;
}

/** How a VMM's process ended; undefined for one that is not our child. */
export type VmmExit = { code: number | null; signal: NodeJS.Signals | null } | undefined;

/** The process of one VMM. */
export interface VmmProcess {
  readonly pid: number;
  /** Field 22 of /proc/PID/stat. */
  readonly startTime: string;
  /** Settles when it is gone; an adopted one is looked for from the first call on. */
  exited(): Promise<VmmExit>;
  /** SIGKILL, unless the pid is another process's by now. */
  kill(): Promise<void>;
}

export interface SpawnOptions {
  binary: string;
  args: string[];
  /** Its working directory, entered before the identity is taken: no right on the folders above is needed. */
  directory: string;
  /** Becomes stdout and stderr: a file, so that the VMM outlives us. */
  logFd: number;
  /** Inherited: the first is descriptor 3 in the VMM (FIRST_FD), and so on. */
  files: number[];
  identity: Identity | undefined;
  /** Beside PATH and LC_ALL. */
  env?: Record<string, string>;
  /** The error for a program that is not there; absent: NO_HYPERVISOR. */
  missing?: (cause: Error) => ZoneError;
}

export const FIRST_FD = 3;

/** Starts a VMM, or a process that helps one, in a session of its own. FAILED_PRECONDITION/NO_HYPERVISOR when there is no such program. */
export async function spawnVmm(options: SpawnOptions): Promise<VmmProcess> {
  const { binary, args, directory, logFd, files, identity } = options;
  const child = spawn(binary, args, {
    cwd: directory,
    detached: true,
    env: { PATH: "/usr/bin:/bin", LC_ALL: "C", ...options.env },
    stdio: ["ignore", logFd, logFd, ...files],
    ...(identity && { uid: identity.uid, gid: identity.gid }),
  });
  const exit = new Promise<VmmExit>((resolve) => child.once("exit", (code, signal) => resolve({ code, signal })));
  const pid = await started(child, binary, options.missing ?? noHypervisor(binary));
  child.unref();
  // Until its exit has been reaped by libuv, which "exit" announces, the pid is the child's.
  const startTime = (await startTimeOf(pid)) ?? "0";
  return { pid, startTime, exited: () => exit, kill: () => killProcess(pid, startTime) };
}

/** An earlier bridge's VMM; undefined when it is gone. Without a known start time it is taken for what runs as `pid` now. */
export async function adoptVmm(pid: number, knownStartTime?: string): Promise<VmmProcess | undefined> {
  const startTime = await startTimeOf(pid);
  if (startTime === undefined || (knownStartTime !== undefined && startTime !== knownStartTime)) return undefined;
  let gone: Promise<undefined> | undefined;
  const exited = () => {
    gone ??= waitUntilGone(pid, startTime);
    return gone;
  };
  return { pid, startTime, exited, kill: () => killProcess(pid, startTime) };
}

/** Field 22 of /proc/PID/stat (proc(5)): ticks from boot to the process's start. Undefined when it is gone or a zombie. */
export async function startTimeOf(pid: number): Promise<string | undefined> {
  let stat: string;
  try {
    stat = await readFile(`/proc/${pid}/stat`, "latin1");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ESRCH") return undefined;
    throw error;
  }
  // The name, in parentheses, may hold spaces and parentheses itself.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const [state] = fields;
  return state === "Z" || state === "X" ? undefined : fields[19];
}

async function waitUntilGone(pid: number, startTime: string): Promise<undefined> {
  while ((await startTimeOf(pid)) === startTime) await new Promise((resolve) => setTimeout(resolve, 10));
  return undefined;
}

async function killProcess(pid: number, startTime: string): Promise<void> {
  if ((await startTimeOf(pid)) !== startTime) return;
  try {
    process.kill(pid, "SIGKILL");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

function noHypervisor(binary: string): (cause: Error) => ZoneError {
  const message = `there is no ${binary}: install it with apt-get install qemu-system-x86`;
  return (cause) =>
    bridgeError("FAILED_PRECONDITION", "NO_HYPERVISOR", message, { type: "hypervisor", name: "qemu" }, cause);
}

function started(child: ChildProcess, binary: string, missing: (cause: Error) => ZoneError): Promise<number> {
  return new Promise((resolve, reject) => {
    child.once("spawn", () => resolve(child.pid ?? 0));
    child.once("error", (error: NodeJS.ErrnoException) => {
      reject(
        error.code === "ENOENT"
          ? missing(error)
          : bridgeError("INTERNAL", "VMM_SPAWN_FAILED", `cannot start ${binary}: ${error.message}`, undefined, error),
      );
    });
  });
}
