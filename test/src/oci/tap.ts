/** What a program of the validation suite has said: TAP on stdout, and an exit status. */
export interface Outcome {
  passed: number;
  failed: number;
  skipped: number;
  /** Descriptions of the test points that failed, each once. */
  failures: string[];
  /** Why the program is not a pass though no test point failed; undefined: it is, or one did. */
  trouble: string | undefined;
}

/**
 * Reads TAP 13 (testanything.org). Programs that have no test points to tell say with a diagnostic "error" that something is wrong, and
 * some end with an exit status other than 0.
 */
export function readTap(stdout: string, stderr: string, exitCode: number): Outcome {
  const outcome: Outcome = { passed: 0, failed: 0, skipped: 0, failures: [], trouble: undefined };
  let diagnostic: string | undefined;
  for (const line of stdout.split("\n")) {
    const [, not, text] = /^(not )?ok\b(?: \d+)?(?: -)?\s*(.*)$/.exec(line) ?? [];
    if (text === undefined) {
      diagnostic ??= /^\s+"error": "((?:[^"\\]|\\.)*)"/.exec(line)?.[1];
      continue;
    }
    if (/^# SKIP\b/i.test(text)) outcome.skipped++;
    else if (not === undefined) outcome.passed++;
    else {
      outcome.failed++;
      if (!outcome.failures.includes(text)) outcome.failures.push(text);
    }
  }
  if (outcome.failed > 0) return outcome;
  if (exitCode === TIMED_OUT || exitCode === KILLED) outcome.trouble = "it did not end in time";
  else if (exitCode !== 0) outcome.trouble = `exit ${exitCode}: ${firstLines(stderr)}`;
  else if (outcome.passed + outcome.skipped === 0 && diagnostic !== undefined)
    outcome.trouble = firstLines(diagnostic.replaceAll("\\n", "\n").replaceAll('\\"', '"'));
  return outcome;
}

/** Exit statuses of timeout(1). */
const TIMED_OUT = 124;
const KILLED = 137;

export function isPass({ failed, trouble }: Outcome): boolean {
  return failed === 0 && trouble === undefined;
}

function firstLines(text: string): string {
  return text.trim().split("\n").slice(0, 2).join("; ").slice(0, 200);
}
