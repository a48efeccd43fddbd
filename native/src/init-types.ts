import type { STAGES } from "./init-messages.js";
import type { DecodedSpec } from "./spawn-types.js";

/** What the child was doing when it failed, enum zi_stage; "request": PID 1 refused (token used already, table full...). */
export type SpawnStage = (typeof STAGES)[number] | "request";

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
  request: "kill" | "dropKept" | "release" | "powerOff" | "unknown";
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
