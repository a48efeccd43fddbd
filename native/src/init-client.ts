import type { DecodedSpec, SpawnSpec } from "./spawn-spec.js";

/** What the child was doing when it failed; enum zi_stage. */
export type SpawnStage =
  | "clone"
  | "spec"
  | "stdio"
  | "session"
  | "tty"
  | "oom"
  | "join"
  | "mount"
  | "hostname"
  | "rlimit"
  | "cwd"
  | "caps"
  | "user"
  | "nnp"
  | "exec"
  /** PID 1 refused the request: token used already, table full, malformed. */
  | "request";

/** exec did not happen. `code` is the errno's name ("ENOENT"). */
export class SpawnError extends Error {
  override readonly name = "SpawnError";
  constructor(
    readonly stage: SpawnStage,
    readonly code: string,
    readonly errno: number,
  ) {
    super(`cannot start the process: ${code} at stage ${stage}`);
  }
}

export interface Exit {
  /** 0 when `signal` is set. */
  code: number;
  /** 0 unless killed by one. */
  signal: number;
  coreDumped: boolean;
  /** Unix milliseconds at the reaping. */
  timeMs: number;
}

export interface ProcessExit extends Exit {
  token: bigint;
  pid: number;
}

/** A process that PID 1 knows. The descriptors in `kept` are the caller's. */
export interface InitRecord {
  token: bigint;
  pid: number;
  exited?: Exit;
  spec: DecodedSpec;
  kept: (number | undefined)[];
}

/** A request that PID 1 could not serve, e.g. kill of a process that has been reaped (ESRCH). */
export interface RequestError {
  token: bigint;
  request: "kill" | "dropKept" | "release" | "list" | "powerOff" | "unknown";
  errno: number;
  code: string;
}

/** The descriptors of a process. */
export interface SpawnDescriptors {
  /** The child's ends: the client owns them, and closes them once they are sent or the spawn has failed. */
  stdio: [number, number, number];
  /** Directory of the cgroup2 that it starts in; stays the caller's. */
  cgroup?: number;
  /** The agent's ends, which PID 1 keeps a duplicate of; at most 3; they stay the caller's. */
  kept: number[];
}

/** The agent's side of zone_init.h. */
export class InitClient {
  /** Of the agent in this boot. */
  readonly restarts: number;
  onExit: (exit: ProcessExit) => void = () => {};
  onError: (error: RequestError) => void = () => {};
  /** PID 1's end is gone; all that is pending has been rejected. */
  onClose: () => void = () => {};

  private constructor(restarts: number) {
    this.restarts = restarts;
  }

  /** Takes over `fd` (ZI_CONTROL_FD) and settles after PID 1's greeting. */
  static open(fd: number): Promise<InitClient> {
    void new InitClient(0);
    return Promise.reject(new Error(`not yet: ${fd}`));
  }

  /** Starts a process; settles when exec has succeeded, or rejects with SpawnError. */
  spawn(token: bigint, spec: SpawnSpec, fds: SpawnDescriptors): Promise<{ pid: number }> {
    return Promise.reject(new Error(`not yet: ${token} ${spec.cwd} ${fds.kept.length}`));
  }

  /** Sends a signal; failure comes to onError. */
  kill(token: bigint, signal: number, options: { group?: boolean } = {}): void {
    throw new Error(`not yet: ${token} ${signal} ${options.group}`);
  }

  /** PID 1 closes its duplicate of kept[index]: stdin's EOF needs that. */
  dropKept(token: bigint, index: number): void {
    throw new Error(`not yet: ${token} ${index}`);
  }

  /** Forgets a process that has exited. */
  release(token: bigint): void {
    throw new Error(`not yet: ${token}`);
  }

  /** All that PID 1 knows; ask once after a restart. Exits from before it are in the records and not repeated by onExit. */
  list(): Promise<InitRecord[]> {
    return Promise.reject(new Error("not yet"));
  }

  /** SIGTERM to all processes, SIGKILL after the grace, then power off. */
  powerOff(graceMs: number): void {
    throw new Error(`not yet: ${graceMs}`);
  }

  /** Closes the control socket. PID 1 takes that for the agent's end, kills it and starts it again. */
  close(): void {}
}
