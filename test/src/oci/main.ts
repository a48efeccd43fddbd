import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { repository } from "../harness/bridge.js";
import { page, type Row } from "./page.js";
import { reasonOf } from "./reasons.js";
import { crunSubject, zoneSubject } from "./subjects.js";
import { buildSuite, hasGo, SUITE } from "./suite.js";
import { isPass, type Outcome } from "./tap.js";
import { validate } from "./validate.js";

/**
 * Runs the OCI's validation suite in a zone and against the host's crun, and writes docs/oci-validation.md. With names of programs it runs
 * those, and the page has the last results of the rest; with --page it only writes the page again. Ends with 1 when a program does not
 * pass and nobody has said why.
 */
async function main(wanted: readonly string[]): Promise<number> {
  const modules = join(repository, "test", "oci");
  const folder = join(repository, ".cache", "oci");
  if (wanted[0] === "--page") {
    writePage(folder, modules);
    return 0;
  }
  if (!(await hasGo())) {
    console.log("There is no Go here, which the OCI's validation suite is built with: nothing is run.");
    return 0;
  }
  const suite = await buildSuite(modules, folder);
  const programs = suite.programs.filter((program) => wanted.length === 0 || wanted.includes(program));
  const crun = await crunSubject(folder);
  const zone = await zoneSubject(folder);
  const rows: Row[] = [];
  try {
    for (const program of programs) {
      const outcome = await validate(suite, program, zone);
      const baseline = crun && (await validate(suite, program, crun));
      rows.push({ program, zone: outcome, crun: baseline });
      console.log(`${program}: ${told(outcome)}${baseline ? `; crun: ${told(baseline)}` : ""}`);
    }
  } finally {
    await zone.end();
  }
  const kept = wanted.length === 0 ? [] : readResults(folder).rows.filter((row) => !programs.includes(row.program));
  const all = [...kept, ...rows].sort((a, b) => (a.program < b.program ? -1 : 1));
  writeFileSync(join(folder, "results.json"), JSON.stringify({ rows: all, crun: crun?.version }));
  writePage(folder, modules);
  return rows.some(({ program, zone: outcome }) => !isPass(outcome) && reasonOf(program) === undefined) ? 1 : 0;
}

interface Results {
  rows: Row[];
  /** Its version. */
  crun?: string;
}

function readResults(folder: string): Results {
  const path = join(folder, "results.json");
  return existsSync(path) ? (JSON.parse(readFileSync(path, "utf8")) as Results) : { rows: [] };
}

/** Of the last results. */
function writePage(folder: string, modules: string): void {
  const { rows, crun } = readResults(folder);
  const suite = new RegExp(`${SUITE} (v\\S+)`).exec(readFileSync(join(modules, "go.mod"), "utf8"))?.[1] ?? "";
  writeFileSync(join(repository, "docs", "oci-validation.md"), page(rows, { suite, crun }));
}

function told(outcome: Outcome): string {
  const { passed, failed, failures, trouble } = outcome;
  if (isPass(outcome)) return `${passed} passed`;
  return `${passed} passed, ${failed} failed: ${trouble ?? failures.join("; ")}`.slice(0, 400);
}

process.exitCode = await main(process.argv.slice(2));
