/** How a process ended; `code` is 0 when a signal ended it. */
export interface Exit {
  code: number;
  signal: number;
  coreDumped: boolean;
  /** The kernel has killed it, or another process of its container, for want of memory. */
  oomKilled: boolean;
  /** Milliseconds since 1970. */
  at: number;
}

/** Why exec did not happen. */
export interface Failure {
  /** As ErrorInfo.reason in process.proto. */
  reason: string;
  message: string;
  /** What a shell would answer: 127, 126 or 125. */
  exitCode: number;
}

/**
 * The life of a process, as process.proto draws it:
 *
 *     created --start--> starting --spawned--> running --reaped--> draining --drained--> exited
 *                            \--failed--> failed
 *     created --failed--> failed
 */
export type ProcessState =
  | { name: "created" }
  | { name: "starting" }
  | { name: "running"; pid: number; startedAt: number }
  | { name: "draining"; pid: number; startedAt: number; exit: Exit }
  | { name: "exited"; pid: number; startedAt: number; exit: Exit }
  | { name: "failed"; failure: Failure };

export type ProcessEvent =
  | { type: "start" }
  | { type: "spawned"; pid: number; at: number }
  | { type: "reaped"; exit: Exit }
  | { type: "drained" }
  | { type: "failed"; failure: Failure };

/** The only way from one state to the next. Throws on an edge that the drawing above does not have: that is a bug. */
export function transition(state: ProcessState, event: ProcessEvent): ProcessState {
  switch (event.type) {
    case "start":
      if (state.name === "created") return { name: "starting" };
      break;
    case "spawned":
      if (state.name === "starting") return { name: "running", pid: event.pid, startedAt: event.at };
      break;
    case "failed":
      if (state.name === "created" || state.name === "starting") return { name: "failed", failure: event.failure };
      break;
    case "reaped":
      if (state.name === "running") return { ...state, name: "draining", exit: event.exit };
      break;
    case "drained":
      if (state.name === "draining") return { ...state, name: "exited" };
      break;
  }
  throw new Error(`a process that is ${state.name} cannot take "${event.type}"`);
}
