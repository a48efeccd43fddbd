// npm run check: everything that needs no zone. Each check runs even when an earlier one failed, so that one run tells all.
import { execFileSync } from "node:child_process";
import { Failure, root, run, script, step } from "./lib/run.mjs";

/** Files that git tracks, or would, whose name ends so. @param {string} suffix */
function files(suffix) {
  const listed = execFileSync("git", ["ls-files", "--cached", "--others", "--exclude-standard"], {
    cwd: root,
    encoding: "utf8",
  });
  return listed.split("\n").filter((file) => file.endsWith(suffix));
}

/** @type {[string, () => Promise<unknown>][]} */
const checks = [
  ["format and lint", () => run("npx", ["biome", "ci", "--error-on-warnings", "."])],
  ["shell scripts", () => run("shellcheck", [...files(".sh"), ".ci/run"])],
  ["generated code", () => run("npm", ["run", "--silent", "generate"])],
  ["API compatibility", () => run("npm", ["run", "--silent", "proto:check"])],
  ["types", () => run("npx", ["tsc", "-b"])],
  ["types of the scripts", () => run("npx", ["tsc", "-p", "scripts"])],
  ["coverage of the API", () => run(process.execPath, ["test/scripts/coverage.mjs"])],
  ["dependency direction", () => run(process.execPath, ["scripts/imports.mjs"])],
  ["C under sanitizers", () => run("make", ["-s", "-C", "native", "test"])],
  ["unit tests", () => run("npx", ["vitest", "run", "--project", "unit"])],
];

script(async () => {
  /** @type {string[]} */
  const failed = [];
  for (const [name, check] of checks) {
    await step(name, check).catch((error) => {
      process.stderr.write(`${error.message}\n`);
      failed.push(name);
    });
  }
  if (failed.length > 0) throw new Failure(`check failed: ${failed.join(", ")}`);
});
