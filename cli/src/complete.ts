import type { Argument, Command, Option } from "commander";

/** Names that only the bridge knows. */
export interface NameSource {
  zones(): Promise<string[]>;
  volumes(): Promise<string[]>;
  images(): Promise<string[]>;
}

/** Options whose values are files: the shell completes those itself. */
const FILE_OPTIONS = new Set(["--env-file", "--bridge", "--volume", "--secret"]);

/**
 * What may stand for the last of `words` (which may be empty, and is what is being typed), from the command tree. The words
 * are those after "zonectl". Undefined: file names, which the shell completes.
 */
export async function candidates(
  program: Command,
  words: readonly string[],
  names: NameSource,
): Promise<string[] | undefined> {
  const typed = words.at(-1) ?? "";
  let command = program;
  let operands = 0;
  let optionsAreOver = false;
  let pending: Option | undefined;
  for (const word of words.slice(0, -1)) {
    if (pending) {
      pending = undefined;
      continue;
    }
    if (!optionsAreOver && word === "--") optionsAreOver = true;
    else if (!optionsAreOver && word.startsWith("-") && word.length > 1) pending = takesNext(command, word);
    else {
      const next = operands === 0 ? subcommand(command, word) : undefined;
      if (next) command = next;
      else {
        operands++;
        // What follows IMAGE or ZONE is the zone's business.
        if (command.name() === "run" || command.name() === "exec") optionsAreOver = true;
      }
    }
  }
  return matching(typed, await possible(command, typed, operands, optionsAreOver, pending, names));
}

async function possible(
  command: Command,
  typed: string,
  operands: number,
  optionsAreOver: boolean,
  pending: Option | undefined,
  names: NameSource,
): Promise<string[] | undefined> {
  if (pending) return FILE_OPTIONS.has(pending.long ?? "") ? undefined : (pending.argChoices ?? []);
  if (typed.startsWith("-") && !optionsAreOver) {
    const options = command.options
      .filter((option) => !option.hidden)
      .flatMap((option) => option.long ?? option.short ?? []);
    return [...options, "--help"];
  }
  if (command.commands.length > 0)
    return command.commands.filter((sub) => !sub.name().startsWith("_")).map((sub) => sub.name());
  const args = command.registeredArguments;
  const argument = args[operands] ?? (args.at(-1)?.variadic ? args.at(-1) : undefined);
  return argument ? argumentValues(argument, command, names) : [];
}

async function argumentValues(argument: Argument, command: Command, names: NameSource): Promise<string[] | undefined> {
  switch (argument.name()) {
    case "zone":
      return names.zones();
    case "image":
      return names.images();
    case "volume":
      return names.volumes();
    case "name":
      return [...(await names.zones()), ...(await names.images())];
    case "source":
    case "destination":
      return undefined;
    case "command":
      return command.name() === "run" || command.name() === "exec" ? [] : undefined;
    default:
      return argument.argChoices ?? [];
  }
}

/** The option of `word` that takes the next word as its value, if it does: "--name", "-e", the last of "-ite". */
function takesNext(command: Command, word: string): Option | undefined {
  if (word.startsWith("--")) return command.options.find((option) => option.required && option.long === word);
  for (let i = 1; i < word.length; i++) {
    const option = command.options.find((candidate) => candidate.short === `-${word[i]}`);
    if (option?.required) return i === word.length - 1 ? option : undefined;
  }
  return undefined;
}

function subcommand(command: Command, word: string): Command | undefined {
  return command.commands.find((sub) => sub.name() === word || sub.aliases().includes(word));
}

function matching(typed: string, values: string[] | undefined): string[] | undefined {
  return values?.filter((value) => value.startsWith(typed)).sort();
}
