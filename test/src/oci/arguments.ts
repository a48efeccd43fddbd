import { constants } from "node:os";
import { RuntimeError } from "./runtime-error.js";

/** What the runtime is asked for: the command line that the OCI's validation suite uses, which runc and crun share. */
export type Command =
  | { name: "create"; id: string; bundle: string; pidFile: string | undefined }
  | { name: "start" | "state" | "delete"; id: string }
  | { name: "kill"; id: string; signal: number };

/** Reads `COMMAND [--bundle DIR] [--pid-file FILE] ID [SIGNAL]`. Throws RuntimeError for what it does not know. */
export function readCommand(args: readonly string[]): Command {
  const [name, ...rest] = args;
  const options = new Map<string, string>();
  const words: string[] = [];
  for (let at = 0; at < rest.length; at++) {
    const word = rest[at] ?? "";
    if (!word.startsWith("--")) {
      words.push(word);
      continue;
    }
    const value = rest[++at];
    if (name !== "create" || !["--bundle", "--pid-file"].includes(word) || value === undefined)
      throw new RuntimeError(`unknown option ${word}, or it has no value`);
    options.set(word, value);
  }
  const [id, signal, ...more] = words;
  if (id === undefined) throw new RuntimeError("a container ID is needed");
  if (more.length > 0 || (signal !== undefined && name !== "kill")) throw new RuntimeError("too many arguments");
  switch (name) {
    case "create":
      return { name, id, bundle: options.get("--bundle") ?? ".", pidFile: options.get("--pid-file") };
    case "start":
    case "state":
    case "delete":
      return { name, id };
    case "kill":
      return { name, id, signal: signalNumber(signal ?? "TERM") };
    default:
      throw new RuntimeError(`unknown command ${name ?? ""}: create, start, state, kill and delete are known`);
  }
}

/** "TERM", "SIGTERM" or "15". */
export function signalNumber(text: string): number {
  const names: Partial<Record<string, number>> = constants.signals;
  const number = /^\d+$/.test(text) ? Number(text) : names[`SIG${text.toUpperCase().replace(/^SIG/, "")}`];
  if (number === undefined || number < 1 || number > 64) throw new RuntimeError(`unknown signal ${text}`);
  return number;
}
