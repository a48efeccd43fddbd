import { Argument, type Command, Option } from "commander";
import type { Context } from "./context.js";

/** What a command does; settles with the exit code. */
export type Action = (context: Context, command: Command) => Promise<number>;

/** Adds a command to `parent`. */
export type Add = (parent: Command, usage: string, description: string, example: string, action: Action) => Command;

export function withFormat(command: Command): Command {
  return command.addOption(format());
}

export function format(): Option {
  return new Option("--format <format>", "how to print").choices(["table", "json"]).default("table");
}

export function zone(): Argument {
  return new Argument("<zone>", "a zone's name, id, or the beginning of its id");
}

export function zones(): Argument {
  return new Argument("<zone...>", "names, ids, or beginnings of ids").argParser(collect);
}

export const collect = (value: string, former: string[] | undefined): string[] => [...(former ?? []), value];

export function first(command: Command): string {
  return command.args[0] ?? "";
}

export function all(command: Command): string[] {
  return command.args;
}
