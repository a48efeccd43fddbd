import type { Context } from "../context.js";
import { report } from "../errors.js";

/**
 * Does something for each of several names, at once, as docker does: what succeeds is done whatever fails. Results are
 * handed to `done` in the order of the names. Answers with the exit code.
 */
export async function forEachName<R>(
  context: Context,
  names: readonly string[],
  act: (name: string) => Promise<R>,
  done: (name: string, result: R) => Promise<void>,
): Promise<number> {
  const results = names.map(act);
  // All are awaited in order; a later one that fails first is not unhandled.
  for (const result of results) result.catch(() => {});
  let exitCode = 0;
  for (const [index, name] of names.entries()) {
    try {
      await done(name, await (results[index] as Promise<R>));
    } catch (thrown) {
      const failure = report(thrown, context.bridge.path);
      if (failure.line !== undefined) context.stderr.write(`${failure.line}\n`);
      if (context.debug) for (const detail of failure.details) context.stderr.write(`  ${detail}\n`);
      exitCode = failure.exitCode;
    }
  }
  return exitCode;
}
