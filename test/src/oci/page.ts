import { caveatOf, reasonOf } from "./reasons.js";
import { isPass, type Outcome } from "./tap.js";

/** One program's row. */
export interface Row {
  program: string;
  zone: Outcome;
  /** Undefined: there is no crun on this host. */
  crun: Outcome | undefined;
}

export interface Versions {
  suite: string;
  /** Of the host's; undefined when there is none. */
  crun: string | undefined;
}

/** docs/oci-validation.md */
export function page(rows: readonly Row[], versions: Versions): string {
  const zones = rows.map((row) => row.zone);
  const cruns = rows.flatMap(({ crun }) => (crun ? [crun] : []));
  const both = rows.filter(({ zone, crun }) => crun && isPass(crun) && isPass(zone)).length;
  const summary = [
    "| | programs passed | of | test points passed | failed | skipped |",
    "| --- | --- | --- | --- | --- | --- |",
    total("in a zone", zones),
    ...(cruns.length > 0 ? [total(`crun ${versions.crun ?? ""} on this host`, cruns)] : []),
  ];
  return `${[
    INTRODUCTION.replace("SUITE", versions.suite),
    ...summary,
    "",
    `${both} programs pass in both. What passes is in the first table, what does not, and why, in the second.`,
    "",
    "## Passes in a zone",
    "",
    "| program | in a zone | crun | but |",
    "| --- | --- | --- | --- |",
    ...rows
      .filter(({ zone }) => isPass(zone))
      .map(({ program, zone, crun }) => line(program, cell(zone), cell(crun), caveatOf(program) ?? "")),
    "",
    "## Does not",
    "",
    "| program | in a zone | crun | why |",
    "| --- | --- | --- | --- |",
    ...rows
      .filter(({ zone }) => !isPass(zone))
      .map(({ program, zone, crun }) => line(program, cell(zone), cell(crun), reasonOf(program) ?? unexplained(zone))),
  ].join("\n")}\n`;
}

const INTRODUCTION = `# The OCI's own validation

Made by \`npm run oci\`: the validation programs of the OCI's runtime-tools (SUITE), unchanged, against containers of OCI bundles
in one zone, and as a baseline against the host's own crun. It needs Go, a zone image and root.

The programs call a runtime's command line (create, start, state, kill, delete). \`test/oci/runtime.mjs\` is one, over the bridge's
API: \`Container.Create\` with the bundle's config.json as it is, \`File.CopyIn\` of its root, \`Process.Start\` with \`hold\`, \`Process.Attach\`
for the output, \`Container.Kill\`, \`Container.Delete\`. In the zone crun 1.8 makes the container. Four things need saying:

- A container's pid is, as Kata's is, that of a process on the host which stands for it: its real one is the zone's.
- A hook runs in the zone, for that is where crun is; its absolute paths into the bundle are rewritten to where the root is there.
- What hooks or the container wrote at the top of its root is copied back into the bundle when it has been made and when it has ended.
- A container that has not been started is killed by giving its process up, with \`Process.Delete\`: \`Container.Kill\` wants one that runs.

Programs without test points tell by a diagnostic, or their exit status, that something is wrong.
`;

function total(name: string, outcomes: readonly Outcome[]): string {
  const sum = (of: "passed" | "failed" | "skipped") => outcomes.reduce((all, outcome) => all + outcome[of], 0);
  const passes = outcomes.filter(isPass).length;
  return line(name, `${passes}`, `${outcomes.length}`, `${sum("passed")}`, `${sum("failed")}`, `${sum("skipped")}`);
}

function line(...cells: string[]): string {
  return `| ${cells.map((each) => each.replaceAll("|", "\\|").replaceAll("\n", " ")).join(" | ")} |`;
}

function cell(outcome: Outcome | undefined): string {
  if (outcome === undefined) return "-";
  const { passed, failed, trouble } = outcome;
  if (failed > 0) return `${passed} passed, **${failed} failed**`;
  if (trouble !== undefined) return passed > 0 ? `${passed} passed, **then failed**` : "**failed**";
  return passed > 0 ? `${passed} passed` : "passed";
}

function unexplained({ failures, trouble }: Outcome): string {
  return `not explained: ${trouble ?? failures.slice(0, 3).join("; ")}`;
}
