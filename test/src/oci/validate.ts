import { runProgram } from "../harness/program.js";
import type { Suite } from "./suite.js";
import { type Outcome, readTap } from "./tap.js";

/** A runtime that the suite is run against. */
export interface Subject {
  /** The program's path: $RUNTIME. */
  runtime: string;
  env: Record<string, string>;
  /** Removes the containers that a program has left. */
  clean(): Promise<void>;
}

/** A program starts up to 20 containers, one after the other, and waits seconds for some of them. */
const LIMIT_SECONDS = 400;

/**
 * In a mount namespace of its own, so that nothing which a program or a runtime mounts stays. Without the cgroup2 of a host that has both
 * hierarchies: crun refuses such a host, and the suite knows cgroup v1 alone.
 */
const PRIVATELY = 'umount /sys/fs/cgroup/unified 2>/dev/null; exec "$@"';

/** Runs one program of the suite against a runtime. */
export async function validate({ folder }: Suite, program: string, subject: Subject): Promise<Outcome> {
  const { runtime, env } = subject;
  const { stdout, stderr, code } = await runProgram(
    "timeout",
    ["-k", "5", `${LIMIT_SECONDS}`, "unshare", "--mount", "sh", "-c", PRIVATELY, "sh", `bin/${program}`],
    { cwd: folder, env: { ...env, RUNTIME: runtime } },
  );
  await subject.clean();
  return readTap(stdout.toString(), stderr, code);
}
