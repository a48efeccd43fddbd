import { execFile } from "node:child_process";
import { BuildError } from "./errors.js";

/** Most bytes of output that a tool may print: far above what any tool here does. */
const MAX_OUTPUT_BYTES = 64 * 1024 * 1024;

export interface RunOptions {
  cwd?: string;
  /** Exit statuses that are not a failure; only 0 when left out. */
  accept?: readonly number[];
}

/**
 * Runs a program without a shell and answers with its standard output. Its locale is C, so that what it prints and how
 * it sorts do not depend on the user. Throws a BuildError with the end of its standard error when it fails.
 */
export function run(program: string, args: readonly string[], options: RunOptions = {}): Promise<string> {
  const settings = {
    cwd: options.cwd,
    maxBuffer: MAX_OUTPUT_BYTES,
    env: { PATH: `${process.env.PATH ?? ""}:/usr/sbin:/sbin`, LC_ALL: "C", SOURCE_DATE_EPOCH: "0" },
  };
  return new Promise((resolve, reject) => {
    execFile(program, args, settings, (error, stdout, stderr) => {
      if (error === null || (typeof error.code === "number" && options.accept?.includes(error.code))) {
        resolve(stdout);
        return;
      }
      const why = stderr.trim().split("\n").slice(-3).join("; ") || error.message;
      const hint = error.code === "ENOENT" ? " (is it installed? npm run setup installs what the project needs)" : "";
      reject(new BuildError(`${program} ${args.at(-1) ?? ""}: ${why}${hint}`, error));
    });
  });
}
