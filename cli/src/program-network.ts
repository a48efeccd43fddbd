import { Argument, type Command } from "commander";
import { type Add, collect, first, zone } from "./program-parts.js";

/** `zonectl port` and `port-forward`. */
export function addNetwork(add: Add, program: Command): void {
  add(program, "port", "Show where a zone's ports are published", "zonectl port web", async (context, command) =>
    (await import("./commands/zones.js")).port(context, first(command)),
  ).addArgument(zone());

  add(
    program,
    "port-forward",
    "Forward ports and sockets of this host into a zone, until interrupted",
    "zonectl port-forward web 8080:80",
    async (context, command) =>
      (await import("./commands/port-forward.js")).portForward(
        context,
        first(command),
        command.args.slice(1),
        command.opts(),
      ),
  )
    .addArgument(zone())
    .addArgument(
      new Argument(
        "<mapping...>",
        "PORT, LOCAL:PORT, :PORT (any free one), /local.sock:PORT or LOCAL:/zone.sock",
      ).argParser(collect),
    )
    .option("--address <address>", "to listen on", "127.0.0.1");
}
