// npm test: setup, everything that needs no zone, then the tests against booted zones.
// `npm test -- PATTERN...` runs only the zone tests whose file matches.
import { run, script } from "./lib/run.mjs";
import { setup } from "./lib/setup.mjs";

script(async () => {
  await setup({ forTests: true });
  const patterns = process.argv.slice(2);
  if (patterns.length === 0) await run("npm", ["run", "--silent", "check"]);
  await run("npx", ["vitest", "run", "--project", "vm", ...patterns]);
});
