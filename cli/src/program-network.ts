import type { Command } from "commander";
import { type Add, first, zone } from "./program-parts.js";

/** `zonectl port` and `port-forward`. */
export function addNetwork(add: Add, program: Command): void {
  add(program, "port", "Show where a zone's ports are published", "zonectl port web", async (context, command) =>
    (await import("./commands/zones.js")).port(context, first(command)),
  ).addArgument(zone());
}
