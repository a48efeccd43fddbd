import { type Command, Option } from "commander";
import type { RawArguments } from "./parse/raw-arguments.js";

/** What run and exec have in common. */
export function addProcessOptions(command: Command, raw: RawArguments): Command {
  const appendBytes = (value: string, former: Buffer[]) => [...former, raw.value(value)];
  return command
    .passThroughOptions()
    .option("-i, --interactive", "pass standard input on")
    .option("-t, --tty", "give it a terminal")
    .addOption(
      new Option("-e, --env <name=value>", "set a variable, or pass NAME on; may be repeated")
        .argParser(appendBytes)
        .default([], "none"),
    )
    .addOption(repeated("--env-file <path>", "variables from a file; may be repeated"))
    .option("-w, --workdir <path>", "where it starts (default: the image's)")
    .option("-u, --user <user[:group]>", "by name or number (default: the image's)")
    .option("--detach-keys <keys>", "such as ctrl-a,d (default: ctrl-p,ctrl-q)");
}

/** What only run has: what its zone is, has and may. Names and meanings are docker's where docker has them. */
export function addZoneOptions(run: Command): Command {
  run
    .option("--rm", "remove the zone when it has ended")
    .option("-d, --detach", "print the zone's id and leave it running")
    .option("--name <name>", "of the zone")
    .option("--entrypoint <program>", "instead of the image's, whose arguments go too")
    .addOption(repeated("-l, --label <name=value>", "may be repeated"))
    .option("--hostname <name>", "of the zone (default: its name)")
    .option("--read-only", "no writable layer over the image")
    .option("--init", "an init in the container that reaps processes and passes signals on")
    .option("--stop-signal <signal>", "what stop sends (default: the image's, or TERM)")
    .option("--cold", "boot the kernel instead of cloning the template");
  run
    .optionsGroup("Resources:")
    .option("-m, --memory <size>", "of the zone, such as 512m (default: 256m)")
    .option("--cpus <number>", "such as 1.5 (default: 1)")
    .option("--memory-limit <size>", "of the container, below the zone's memory")
    .option("--max-memory <size>", "what `update` can give it later (default: four times its memory)")
    .option("--max-cpus <number>", "the same for cpus (default: the host's, at most 8)")
    .option("--pids-limit <number>", "of processes and threads; -1 for no limit")
    .option("--shm-size <size>", "of /dev/shm (default: 64m)")
    .addOption(repeated("--ulimit <name=soft[:hard]>", "such as nofile=1024:2048; may be repeated"))
    .option("--oom-score-adj <score>", "from -1000 to 1000");
  run
    .optionsGroup("Storage:")
    .addOption(
      repeated(
        "-v, --volume <source:target[:ro]>",
        "a folder of this host (with a /), or a volume by name; may be repeated",
      ),
    )
    .addOption(repeated("--mount <fields>", "type=bind|volume|tmpfs,source=...,target=...[,readonly]; may be repeated"))
    .addOption(repeated("--tmpfs <target[:options]>", "such as /run:size=64m; may be repeated"))
    .addOption(
      repeated("--secret <file[:target[:mode]]>", "a file's content, in the zone's memory alone; may be repeated"),
    )
    .addOption(repeated("--device <path>", "of the zone, such as /dev/fuse; may be repeated"));
  run
    .optionsGroup("Network:")
    .addOption(
      repeated("-p, --publish <[[address:]port:]port>", "on 127.0.0.1 unless an address is given; may be repeated"),
    )
    .option("--network <mode>", "user: what the zone connects to sees this host; none: loopback alone (default: user)")
    .addOption(repeated("--dns <address>", "name servers (default: this host's); may be repeated"))
    .addOption(repeated("--dns-search <domain>", "may be repeated"))
    .addOption(repeated("--dns-option <option>", "of resolv.conf; may be repeated"))
    .addOption(repeated("--add-host <name:address>", "for /etc/hosts; may be repeated"));
  return run
    .optionsGroup("Security:")
    .addOption(repeated("--cap-add <capability>", "such as NET_ADMIN, or ALL; may be repeated"))
    .addOption(repeated("--cap-drop <capability>", "may be repeated"))
    .addOption(
      repeated("--security-opt <option>", "seccomp=unconfined, seccomp=FILE, no-new-privileges; may be repeated"),
    )
    .option("--privileged", "all that its zone has; the zone is still its own kernel")
    .addOption(repeated("--group-add <group>", "more groups; may be repeated"))
    .addOption(repeated("--sysctl <name=value>", "of the container's namespaces; may be repeated"));
}

function repeated(flags: string, description: string): Option {
  return new Option(flags, description)
    .argParser((value: string, former: string[]) => [...former, value])
    .default([], "none");
}
