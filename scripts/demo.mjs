// npm run demo: the main job, shown. Sets up what is missing, runs containers in zones, and says what it measured.
import { spawn } from "node:child_process";
import { release } from "node:os";
import { join } from "node:path";
import { Failure, root, script, step } from "./lib/run.mjs";
import { setup } from "./lib/setup.mjs";

const zonectlPath = join(root, "cli", "bin", "zonectl.mjs");

/**
 * Runs zonectl; its stderr is the terminal's.
 * @param {string[]} args
 * @returns {Promise<{ code: number, output: string, firstOutputMs: number }>}
 */
function zonectl(args) {
  return new Promise((resolve, reject) => {
    const started = performance.now();
    let firstOutputMs = Number.NaN;
    /** @type {Buffer[]} */
    const output = [];
    const child = spawn(process.execPath, [zonectlPath, ...args], { stdio: ["ignore", "pipe", "inherit"] });
    child.stdout.on("data", (data) => {
      if (output.length === 0) firstOutputMs = performance.now() - started;
      output.push(data);
    });
    child.once("error", reject);
    child.once("close", (code) =>
      resolve({ code: code ?? 125, output: Buffer.concat(output).toString(), firstOutputMs }),
    );
  });
}

/** @param {string[]} args */
async function must(args) {
  const result = await zonectl(args);
  if (result.code !== 0) throw new Failure(`zonectl ${args.join(" ")} ended with ${result.code}`);
  return result;
}

/** @param {string} text */
const say = (text) => process.stdout.write(`${text}\n`);

script(async () => {
  await setup();
  // Starts the bridge, and makes the template of the default size if there is none: once per image and machine.
  await step("starting the bridge and the first zone", () => must(["run", "--rm", "busybox", "true"]));

  say("\n$ zonectl run --rm busybox uname -a");
  const uname = await must(["run", "--rm", "busybox", "uname", "-a"]);
  say(uname.output.trimEnd());
  const kernel = await must(["run", "--rm", "busybox", "uname", "-r"]);
  say(`  kernel of the zone   ${kernel.output.trim()}`);
  say(`  kernel of the host   ${release()}`);

  say("\n$ zonectl run --rm busybox sh -c 'exit 42'");
  const exit = await zonectl(["run", "--rm", "busybox", "sh", "-c", "exit 42"]);
  say(`  exit status          ${exit.code}`);
  if (exit.code !== 42) throw new Failure("the exit status did not come through");

  say("\nfrom the request to the first output (echo):");
  const cold = await must(["run", "--rm", "--cold", "busybox", "echo", "hello"]);
  const cloned = await must(["run", "--rm", "busybox", "echo", "hello"]);
  say(`  cold boot            ${cold.firstOutputMs.toFixed(0)} ms`);
  say(`  from the template    ${cloned.firstOutputMs.toFixed(0)} ms`);
  say("\nThe bridge goes on running. Try: npx zonectl run -it --rm busybox sh");
});
