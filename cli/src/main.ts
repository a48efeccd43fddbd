import { readFileSync } from "node:fs";
import { type Command, CommanderError } from "commander";
import { write } from "./attach/output.js";
import { bridgeAddress } from "./bridge/address.js";
import { candidates } from "./complete.js";
import type { Context } from "./context.js";
import { report } from "./errors.js";
import { parseEnviron } from "./parse/environment.js";
import { RawArguments } from "./parse/raw-arguments.js";
import { UsageError } from "./parse/usage-error.js";
import { buildProgram, type GlobalOptions } from "./program.js";

function contextOf(options: GlobalOptions): Context {
  const { env, stdin, stdout, stderr } = process;
  const noColor = (env.NO_COLOR ?? "") !== "" || env.TERM === "dumb";
  const color = options.color && !noColor && stdout.isTTY === true;
  return { bridge: bridgeAddress(options.bridge, env), color, debug: options.debug, env, stdin, stdout, stderr };
}

/** Proc(5) has what Node decoded; where it is not mounted, Node's text has to do. */
function readProc(name: string): Buffer {
  try {
    return readFileSync(`/proc/self/${name}`);
  } catch {
    return Buffer.alloc(0);
  }
}

async function complete(program: Command, words: string[]): Promise<void> {
  // Never starts a bridge, and says nothing when there is none: this runs at each press of TAB.
  const { bridge } = contextOf({ color: false, debug: false });
  const names = async () => (await import("./names.js")).namesFrom(bridge.path);
  const found = await candidates(program, words, {
    zones: async () => (await names()).zones(),
    images: async () => (await names()).images(),
  });
  await write(process.stdout, found === undefined ? ":files\n" : found.map((name) => `${name}\n`).join(""));
}

/** Commander's "error: unknown option '--x'\n(Did you mean --y?)" as our one line. */
function usageError(error: CommanderError, command: string): UsageError {
  const message = error.message.replace(/^error: /, "").replaceAll("\n", " ");
  return new UsageError(`${message}; see \`${command} --help\``);
}

/** The command that an argument vector names, as the user would type it. */
function commandName(program: Command, argv: readonly string[]): string {
  const found = program.commands.find((command) => argv.includes(command.name()) && !command.name().startsWith("_"));
  return found ? `zonectl ${found.name()}` : "zonectl";
}

async function main(argv: readonly string[]): Promise<number> {
  let exitCode = 0;
  const program = buildProgram({
    context: contextOf,
    rawArguments: new RawArguments(readProc("cmdline"), argv),
    ownEnvironment: () => parseEnviron(readProc("environ")),
    finished: (code) => {
      exitCode = code;
    },
    complete,
  });
  let help = "";
  const quietly = (command: Command) => {
    command.exitOverride().configureOutput({ writeOut: (text) => (help += text), writeErr: () => {} });
    command.commands.forEach(quietly);
  };
  quietly(program);
  try {
    if (argv.length === 0) help = program.helpInformation();
    else await program.parseAsync(argv, { from: "user" });
  } catch (thrown) {
    if (!(thrown instanceof CommanderError)) throw thrown;
    // Help was asked for ("commander.help" too is when `zonectl image` is all there is).
    if (thrown.code === "commander.help")
      help = program.commands.find((c) => argv.includes(c.name()))?.helpInformation() ?? "";
    else if (thrown.exitCode !== 0) throw usageError(thrown, commandName(program, argv));
  }
  if (help) await write(process.stdout, help);
  return exitCode;
}

// A reader that is gone is told by the callback of each write; without a listener the event alone would end us.
process.stdout.on("error", () => {});
process.stderr.on("error", () => {});

const argv = process.argv.slice(2);
let code: number;
try {
  code = await main(argv);
} catch (thrown) {
  const { exitCode, line, details } = report(thrown, bridgeAddress(undefined, process.env).path);
  const isDebug = argv.includes("--debug");
  const lines = [...(line === undefined ? [] : [line]), ...(isDebug ? details.map((detail) => `  ${detail}`) : [])];
  if (lines.length > 0) await write(process.stderr, `${lines.join("\n")}\n`).catch(() => {}); // nobody reads stderr
  code = exitCode;
}
// Every write was waited for; what is left are connections and standard input, which must not keep us.
process.exit(code);
