import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { readControl } from "./control-file.js";

/**
 * Lets the children of a cgroup have limits: hands on every controller that it has. Nothing is written when it does already. EBUSY
 * when it has processes of its own: cgroup-v2.rst, "No Internal Process Constraint".
 */
export function shareControllers(folder: string): void {
  const enabled = wordsOf(folder, "cgroup.subtree_control");
  const missing = [...wordsOf(folder, "cgroup.controllers")].filter((name) => !enabled.has(name));
  if (missing.length === 0) return;
  writeFileSync(join(folder, "cgroup.subtree_control"), missing.map((name) => `+${name}`).join(" "));
}

function wordsOf(folder: string, file: string): Set<string> {
  return new Set((readControl(folder, file) ?? "").split(" ").filter(Boolean));
}
