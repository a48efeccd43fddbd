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
    volumes: async () => (await names()).volumes(),
    images: async () => (await names()).images(),
  });
  await write(process.stdout, found === undefined ? ":files\n" : found.map((name) => `${name}\n`).join(""));
}

/** What the user typed to get to `command`: "zonectl image ls". */
function fullName(command: Command): string {
  return command.parent ? `${fullName(command.parent)} ${command.name()}` : command.name();
}

/** Makes commander collect its help in `write`, and throw a UsageError of one line instead of printing its own errors. */
function tame(command: Command, write: (text: string) => void): void {
  command.configureOutput({ writeOut: write, writeErr: () => {} });
  command.exitOverride((error) => {
    if (error.exitCode === 0) throw error;
    if (error.code === "commander.help") {
      command.outputHelp(); // a group of commands alone, such as `zonectl image`
      throw error;
    }
    // "error: unknown option '--x'\n(Did you mean --y?)"
    const message = error.message
      .replace(/^error: /, "")
      .replaceAll("\n", " ")
      .replace(/\.$/, "");
    throw new UsageError(`${message}; see \`${fullName(command)} --help\``);
  });
  for (const child of command.commands) tame(child, write);
}

/** Runs the command of an argument vector. `used` is told the settings before anything can fail because of them. */
async function main(argv: readonly string[], used: (context: Context) => void): Promise<number> {
  let exitCode = 0;
  let help = "";
  const program = buildProgram({
    context: (options) => {
      const context = contextOf(options);
      used(context);
      return context;
    },
    rawArguments: new RawArguments(readProc("cmdline"), argv),
    ownEnvironment: () => parseEnviron(readProc("environ")),
    finished: (code) => {
      exitCode = code;
    },
    complete,
  });
  tame(program, (text) => {
    help += text;
  });
  try {
    if (argv.length === 0) program.outputHelp();
    else await program.parseAsync(argv, { from: "user" });
  } catch (thrown) {
    if (!(thrown instanceof CommanderError)) throw thrown; // help or the version was asked for
  }
  if (help) await write(process.stdout, help);
  return exitCode;
}

// A reader that is gone is told by the callback of each write; without a listener the event alone would end us.
process.stdout.on("error", () => {});
process.stderr.on("error", () => {});

let settings = contextOf({ color: false, debug: false });
let code: number;
try {
  code = await main(process.argv.slice(2), (context) => {
    settings = context;
  });
} catch (thrown) {
  const { exitCode, line, details } = report(thrown, settings.bridge.path);
  const lines = [
    ...(line === undefined ? [] : [line]),
    ...(settings.debug ? details.map((detail) => `  ${detail}`) : []),
  ];
  if (lines.length > 0) await write(process.stderr, `${lines.join("\n")}\n`).catch(() => {}); // nobody reads stderr
  code = exitCode;
}
// Every write was waited for; what is left are connections and standard input, which must not keep us.
process.exit(code);
