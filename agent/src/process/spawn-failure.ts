import { SpawnError } from "@zone/native";
import { type Code, ZoneError } from "@zone/proto";
import { agentError } from "../errors.js";
import type { Failure } from "./state.js";

/** Errnos of exec(2) that say "there is no such program". */
const MISSING = new Set(["ENOENT", "ENOTDIR"]);
/** Errnos of exec(2) that say "it is there but cannot be run". */
const NOT_EXECUTABLE = new Set(["EACCES", "EPERM", "ENOEXEC", "EISDIR", "ELOOP", "ETXTBSY", "ELIBBAD", "EINVAL"]);

/** The error that a failed start answers with; `what` is argv[0] as text, the one argument that may be named. */
export function startError(thrown: unknown, what: string): ZoneError {
  if (thrown instanceof ZoneError) return thrown;
  if (!(thrown instanceof SpawnError)) {
    const why = thrown instanceof Error ? thrown.message : String(thrown);
    return agentError("INTERNAL", "SPAWN_FAILED", `cannot start "${what}": ${why}`, { cause: thrown });
  }
  const { stage, code } = thrown;
  const [status, reason, why] = reasonOf(stage, code);
  return agentError(status, reason, `cannot start "${what}": ${why}`, {
    metadata: { stage, errno: code },
    cause: thrown,
  });
}

function reasonOf(stage: SpawnError["stage"], code: string): [Code, string, string] {
  if (stage === "exec") {
    if (MISSING.has(code)) return ["NOT_FOUND", "EXEC_NOT_FOUND", "no such program, or its interpreter is missing"];
    if (NOT_EXECUTABLE.has(code))
      return ["PERMISSION_DENIED", "EXEC_NOT_EXECUTABLE", `it cannot be executed (${code})`];
    if (code === "E2BIG")
      return ["INVALID_ARGUMENT", "SPEC_TOO_LARGE", "argv and env are larger than the kernel takes"];
  }
  if (stage === "cwd") return ["NOT_FOUND", "CWD_NOT_FOUND", `its cwd cannot be entered or made (${code})`];
  if (stage === "join") return ["FAILED_PRECONDITION", "CONTAINER_NOT_RUNNING", `its container has ended (${code})`];
  if (stage === "rlimit") return ["INVALID_ARGUMENT", "INVALID_RLIMIT", `a resource limit was refused (${code})`];
  if (stage === "clone" && code === "EAGAIN") {
    return ["RESOURCE_EXHAUSTED", "TOO_MANY_PROCESSES", "the limit on processes is reached"];
  }
  return ["INTERNAL", "SPAWN_FAILED", `${code} at stage ${stage}`];
}

/** The same for an attached client, with the exit code that a shell would answer. */
export function toFailure(error: ZoneError): Failure {
  const exitCode = error.reason === "EXEC_NOT_FOUND" ? 127 : error.reason === "EXEC_NOT_EXECUTABLE" ? 126 : 125;
  return { reason: error.reason, message: error.message, exitCode };
}
