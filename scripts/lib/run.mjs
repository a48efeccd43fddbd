// What the scripts share: running programs without a shell, and saying what takes long.
import { spawn } from "node:child_process";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The repository's root. */
export const root = join(dirname(fileURLToPath(import.meta.url)), "..", "..");

const PROGRESS_AFTER_MS = 1000;

/** A failure whose message says it all: printed without a stack. */
export class Failure extends Error {}

/**
 * Runs a program with the terminal's own stdio. Rejects with a Failure when it does not exit with 0.
 * @param {string} program
 * @param {string[]} args
 * @param {import("node:child_process").SpawnOptions} [options]
 * @returns {Promise<void>}
 */
export function run(program, args, options = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { cwd: root, stdio: "inherit", ...options });
    child.once("error", (error) => reject(new Failure(`cannot run ${program}: ${error.message}`)));
    child.once("close", (code, signal) => {
      if (code === 0) resolve();
      else reject(new Failure(`${[program, ...args].join(" ")}: ${signal ?? `exit status ${code}`}`));
    });
  });
}

/**
 * Runs a program, keeping its output, which is shown only when it fails.
 * @param {string} program
 * @param {string[]} args
 * @param {import("node:child_process").SpawnOptions} [options]
 * @returns {Promise<string>} stdout and stderr together
 */
export async function quiet(program, args, options = {}) {
  /** @type {Buffer[]} */
  const output = [];
  await new Promise((resolve, reject) => {
    const child = spawn(program, args, { cwd: root, ...options, stdio: ["ignore", "pipe", "pipe"] });
    child.stdout?.on("data", (data) => output.push(data));
    child.stderr?.on("data", (data) => output.push(data));
    child.once("error", (error) => reject(new Failure(`cannot run ${program}: ${error.message}`)));
    child.once("close", (code, signal) => {
      if (code === 0) return resolve(undefined);
      const said = Buffer.concat(output).toString();
      reject(new Failure(`${said}\n${[program, ...args].join(" ")}: ${signal ?? `exit status ${code}`}`));
    });
  });
  return Buffer.concat(output).toString();
}

/**
 * Does one step; whatever takes longer than a second is announced, and its time told.
 * @template T
 * @param {string} what
 * @param {() => Promise<T>} work
 * @returns {Promise<T>}
 */
export async function step(what, work) {
  const started = Date.now();
  const seconds = () => ((Date.now() - started) / 1000).toFixed(0);
  let said = false;
  const tty = process.stderr.isTTY;
  const timer = setInterval(() => {
    if (tty) process.stderr.write(`\r\x1b[K==> ${what} ... ${seconds()} s`);
    else if (!said) process.stderr.write(`==> ${what} ...\n`);
    said = true;
  }, PROGRESS_AFTER_MS);
  try {
    return await work();
  } finally {
    clearInterval(timer);
    if (said) process.stderr.write(tty ? `\r\x1b[K==> ${what}: ${seconds()} s\n` : `==> ${what}: ${seconds()} s\n`);
  }
}

/**
 * Runs a script's main function: a Failure is printed in one piece, without a stack, and the exit status is 1.
 * @param {() => Promise<void>} main
 */
export function script(main) {
  main().catch((error) => {
    process.stderr.write(`${error instanceof Failure ? error.message : error.stack}\n`);
    process.exitCode = 1;
  });
}
