import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";

/** A folder that is removed when the test is over. */
export function scratch(): string {
  const directory = mkdtempSync(join(tmpdir(), "zone-tar-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}
