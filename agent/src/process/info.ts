import { toTimestamp, type zone } from "@zone/proto";
import type { ZoneProcess } from "./process.js";
import type { Exit, Failure, ProcessState } from "./state.js";

/** ProcessState of process.proto. */
const STATES: Record<ProcessState["name"], zone.agent.v1.ProcessState> = {
  created: 1,
  starting: 2,
  running: 3,
  draining: 4,
  exited: 5,
  failed: 6,
};

export function toExitMessage({
  code,
  signal,
  coreDumped,
  oomKilled,
  at,
}: Exit): zone.agent.v1.ProcessExit.$Properties {
  return { code, signal, coreDumped, oomKilled, exitedAt: toTimestamp(at) };
}

export function toFailureMessage({ reason, message, exitCode }: Failure): zone.agent.v1.ProcessFailure.$Properties {
  return { reason, message, exitCode };
}

/** A process as clients see it. The exit of a DRAINING process is not told yet: exit follows output. */
export function toProcessInfo(process: ZoneProcess): zone.agent.v1.ProcessInfo.$Properties {
  const { meta, state, stdout, stderr, stdin } = process;
  const ran = "pid" in state ? state : undefined;
  return {
    id: meta.id,
    containerId: meta.containerId,
    state: STATES[state.name],
    pid: ran?.pid,
    argv: [...process.argv],
    user: meta.user,
    tty: meta.tty,
    init: meta.init,
    createdAt: toTimestamp(meta.createdAt),
    startedAt: ran && toTimestamp(ran.startedAt),
    exit: state.name === "exited" ? toExitMessage(state.exit) : undefined,
    failure: state.name === "failed" ? toFailureMessage(state.failure) : undefined,
    stdoutBytes: stdout.end,
    stderrBytes: stderr?.end,
    stdinBytes: stdin?.accepted,
    attached: process.attached,
  };
}
