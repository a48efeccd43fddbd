import { Argument, Command } from "commander";
import type { Context } from "./context.js";
import type { Environment } from "./parse/environment.js";
import type { RawArguments } from "./parse/raw-arguments.js";
import { addNetwork } from "./program-network.js";
import { type Action, type Add, all, collect, first, format, withFormat, zone, zones } from "./program-parts.js";
import { addImages, addVolumes } from "./program-storage.js";
import { addProcessOptions, addZoneOptions } from "./run-options.js";
import { VERSION } from "./version.js";

/** What the command tree needs of the process, so that it can be built (for completion, for tests) without running. */
export interface ProgramEdges {
  /** The settings from a command's options, its parents' included. */
  context(options: GlobalOptions): Context;
  readonly rawArguments: RawArguments;
  readonly ownEnvironment: () => Environment;
  /** Gets the exit code when a command has run. */
  finished(exitCode: number): void;
  /** All words after `__complete`. */
  complete(program: Command, words: string[]): Promise<void>;
}

export interface GlobalOptions {
  readonly bridge?: string;
  readonly color: boolean;
  readonly debug: boolean;
}

/**
 * The command tree. Each command's code is loaded when it runs: gRPC takes longer to load than most commands take.
 * Options after IMAGE or ZONE belong to the command in the zone, as in docker.
 */
export function buildProgram(edges: ProgramEdges): Command {
  const program = new Command("zonectl")
    .description("Run container images in zones: small virtual machines of their own.")
    .version(VERSION)
    .enablePositionalOptions()
    .configureHelp({ subcommandTerm: (command) => command.name() })
    .addHelpText("after", "\nExample:\n  zonectl run --rm -it busybox\n\n`zonectl COMMAND --help` explains a command.");
  addGlobalOptions(program);

  const add = (parent: Command, usage: string, description: string, example: string, action: Action): Command => {
    const command = parent.command(usage).description(description).addHelpText("after", `\nExample:\n  ${example}`);
    addGlobalOptions(command);
    command.action(async () => edges.finished(await action(edges.context(globalOptions(command)), command)));
    return command;
  };

  addRun(add, program, edges);
  addExec(add, program, edges);

  add(
    program,
    "cp",
    "Copy files between this host and a zone",
    "zonectl cp site web:/var/www",
    async (context, command) =>
      (await import("./commands/cp.js")).cp(context, command.args[0] ?? "", command.args[1] ?? "", command.opts()),
  )
    .argument("<source>", "a path, ZONE:PATH, or - for a tar stream on standard input")
    .argument("<destination>", "the same; - for a tar stream on standard output")
    .usage("[options] ZONE:SOURCE DESTINATION|-, or SOURCE|- ZONE:DESTINATION")
    .option("-a, --archive", "keep owners (uid and gid), setuid and setgid")
    .option("-L, --follow-link", "follow a link that SOURCE itself is")
    .option("-q, --quiet", "no progress");

  add(program, "attach", "Come back to a zone's main process", "zonectl attach web", async (context, command) =>
    (await import("./commands/attach.js")).attach(context, first(command), command.opts()),
  )
    .addArgument(zone())
    .option("--no-stdin", "watch only")
    .option("--detach-keys <keys>", "such as ctrl-a,d (default: ctrl-p,ctrl-q)");

  const ls = add(program, "ls", "List zones", "zonectl ls -a", async (context, command) =>
    (await import("./commands/list.js")).ls(context, command.opts()),
  );
  withFormat(ls).alias("list").option("-a, --all", "ended ones too").option("-q, --quiet", "ids alone");

  const ps = add(program, "ps", "List the processes in a zone", "zonectl ps web", async (context, command) =>
    (await import("./commands/list.js")).ps(context, first(command), command.opts()),
  );
  withFormat(ps).alias("top").addArgument(zone());

  add(
    program,
    "inspect",
    "Show all that is known of zones or images, as JSON",
    "zonectl inspect web",
    async (context, command) => (await import("./commands/zones.js")).inspect(context, all(command)),
  ).addArgument(new Argument("<name...>", "zones, or images").argParser(collect));

  add(
    program,
    "logs",
    "Show what a zone's main process wrote",
    "zonectl logs -f -n 100 web",
    async (context, command) => (await import("./commands/streams.js")).logs(context, first(command), command.opts()),
  )
    .addArgument(zone())
    .option("-f, --follow", "go on with what comes")
    .option("-n, --tail <lines>", "only the last lines, or all", "all")
    .option("-t, --timestamps", "put the time before each line")
    .option("--system", "the zone's console and the agent's log instead");

  add(program, "kill", "Send a signal to zones' main processes", "zonectl kill -s HUP web", async (context, command) =>
    (await import("./commands/zones.js")).kill(context, all(command), command.opts()),
  )
    .addArgument(zones())
    .option("-s, --signal <signal>", "name or number", "KILL");

  add(
    program,
    "stop",
    "Stop zones: the stop signal, then SIGKILL",
    "zonectl stop -t 30 web",
    async (context, command) => (await import("./commands/zones.js")).stop(context, all(command), command.opts()),
  )
    .addArgument(zones())
    .option("-t, --time <seconds>", "how long to wait before SIGKILL (default: 10)")
    .option("-s, --signal <signal>", "instead of the zone's stop signal");

  add(program, "rm", "Remove zones", "zonectl rm -f web", async (context, command) =>
    (await import("./commands/zones.js")).rm(context, all(command), command.opts()),
  )
    .addArgument(zones())
    .option("-f, --force", "end them first when they run");

  add(program, "pause", "Stop zones' cpus", "zonectl pause web", async (context, command) =>
    (await import("./commands/zones.js")).pause(context, all(command)),
  ).addArgument(zones());

  add(program, "unpause", "Let paused zones go on", "zonectl unpause web", async (context, command) =>
    (await import("./commands/zones.js")).unpause(context, all(command)),
  ).addArgument(zones());

  add(
    program,
    "update",
    "Change zones' resources while they run",
    "zonectl update --memory 1g --cpus 2 web",
    async (context, command) => (await import("./commands/zones.js")).update(context, all(command), command.opts()),
  )
    .addArgument(zones())
    .option("-m, --memory <size>", "of the zone, such as 1g")
    .option("--cpus <number>", "such as 1.5")
    .option("--memory-limit <size>", "of the container; -1 for no limit but the zone's memory")
    .option("--pids-limit <number>", "-1 for no limit");

  add(program, "rename", "Give a zone another name", "zonectl rename web www", async (context, command) =>
    (await import("./commands/zones.js")).rename(context, first(command), command.args[1] ?? ""),
  )
    .addArgument(zone())
    .argument("<new-name>");

  add(program, "stats", "Show what zones use, live", "zonectl stats --no-stream web", async (context, command) =>
    (await import("./commands/stats.js")).stats(context, all(command), command.opts()),
  )
    .addArgument(
      new Argument("[zone...]", "names, ids, or beginnings of ids (default: all that run)").argParser(collect),
    )
    .option("--no-stream", "one turn, not a live table")
    .addOption(format());

  addNetwork(add, program);
  addVolumes(add, program);

  add(
    program,
    "wait",
    "Wait until zones have ended; print their exit codes",
    "zonectl wait web",
    async (context, command) => (await import("./commands/zones.js")).wait(context, all(command)),
  ).addArgument(zones());

  withFormat(
    add(
      program,
      "events",
      "Show changes of zones as they come",
      "zonectl events --format json",
      async (context, command) => (await import("./commands/streams.js")).events(context, command.opts()),
    ),
  );

  addImages(add, program);

  withFormat(
    add(
      program,
      "doctor",
      "Say what works on this host, and what to do about the rest",
      "zonectl doctor",
      async (context, command) => (await import("./commands/host.js")).doctor(context, command.opts()),
    ),
  ).option("--probe", "boot a zone with KVM to learn whether it works, if that is not known");

  withFormat(
    add(
      program,
      "version",
      "Show the versions of zonectl and the bridge",
      "zonectl version",
      async (context, command) => (await import("./commands/version.js")).version(context, command.opts()),
    ),
  );

  add(
    program,
    "completion",
    "Print a completion script",
    "source <(zonectl completion bash)",
    async (context, command) => (await import("./commands/completion.js")).completion(context, first(command)),
  ).addArgument(new Argument("<shell>").choices(["bash", "zsh", "fish"]));

  program
    .command("__complete", { hidden: true })
    .argument("[words...]")
    .allowUnknownOption()
    .passThroughOptions()
    .helpOption(false)
    .action((words: string[]) => edges.complete(program, words));
  return program;
}

function addRun(add: Add, program: Command, edges: ProgramEdges): void {
  const example = "zonectl run --rm -e GREETING=hello busybox sh -c 'echo $GREETING from $(uname -r)'";
  const run = add(program, "run", "Run an image in a new zone", example, async (context, command) => {
    const [image = "", ...rest] = command.args;
    const { run } = await import("./commands/run.js");
    return run(context, image, commandBytes(edges.rawArguments, rest), command.opts(), edges.ownEnvironment());
  });
  run.argument("<image>", "busybox, a registry reference, or as skopeo takes it");
  run.argument("[command...]", "instead of the image's").usage("[options] IMAGE [--] [COMMAND ARG...]");
  addZoneOptions(addProcessOptions(run, edges.rawArguments));
}

function addExec(add: Add, program: Command, edges: ProgramEdges): void {
  const exec = add(
    program,
    "exec",
    "Run another command in a zone",
    "zonectl exec -it web sh",
    async (context, command) => {
      const [zone = "", ...rest] = command.args;
      const { exec } = await import("./commands/exec.js");
      return exec(context, zone, commandBytes(edges.rawArguments, rest), command.opts(), edges.ownEnvironment());
    },
  );
  exec.addArgument(zone()).argument("<command...>", "and its arguments").usage("[options] ZONE [--] COMMAND [ARG...]");
  addProcessOptions(exec, edges.rawArguments).option("-d, --detach", "do not wait for it");
}

/** Before and after a command's name, as people expect; docker takes them before it alone. */
function addGlobalOptions(command: Command): void {
  command
    .option("--bridge <path>", "the bridge's Unix socket (default: $ZONE_BRIDGE, or /run/zone-bridge/bridge.sock)")
    .option("--no-color", "no colours (also: NO_COLOR)")
    .option("--debug", "more about errors");
}

function globalOptions(command: Command): GlobalOptions {
  let options: GlobalOptions = { color: true, debug: false };
  for (let at: Command | null = command; at; at = at.parent) {
    const { bridge, color, debug } = at.opts<Partial<GlobalOptions>>();
    options = {
      ...((options.bridge ?? bridge) !== undefined && { bridge: options.bridge ?? bridge }),
      color: options.color && color !== false,
      debug: options.debug || debug === true,
    } as GlobalOptions;
  }
  return options;
}

/** The command for the zone, as bytes; one "--" before it is a separator. */
function commandBytes(raw: RawArguments, words: readonly string[]): Buffer[] {
  return raw.tail(words[0] === "--" ? words.slice(1) : words);
}
