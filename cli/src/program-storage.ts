import { Argument, type Command } from "commander";
import { type Add, all, collect, first, withFormat, zone } from "./program-parts.js";

/** `zonectl image ...`. */
export function addImages(add: Add, program: Command): void {
  const image = program.command("image").description("Manage workload images").enablePositionalOptions();
  image.addHelpText("after", "\nExample:\n  zonectl image pull debian:12");
  withFormat(
    add(image, "ls", "List images", "zonectl image ls", async (context, command) =>
      (await import("./commands/list.js")).imageLs(context, command.opts()),
    ),
  ).option("-q, --quiet", "digests alone");
  add(image, "pull", "Bring an image", "zonectl image pull docker://debian:12", async (context, command) =>
    (await import("./commands/image.js")).imagePull(context, first(command)),
  ).argument("<image>", "as skopeo takes it, or a registry reference");
  add(image, "rm", "Remove images", "zonectl image rm debian:12", async (context, command) =>
    (await import("./commands/image.js")).imageRm(context, all(command)),
  ).addArgument(new Argument("<image...>", "names or digests").argParser(collect));
}

/** `zonectl volume ...`. */
export function addVolumes(add: Add, program: Command): void {
  const volume = program.command("volume").description("Manage volumes").enablePositionalOptions();
  volume.addHelpText("after", "\nExample:\n  zonectl volume create --size 2g data");
  const commands = () => import("./commands/volume.js");
  add(volume, "create", "Make a volume", "zonectl volume create --size 2g data", async (context, command) =>
    (await commands()).create(context, first(command), command.opts()),
  )
    .argument("[name]", "chosen when left out")
    .option("-s, --size <size>", "such as 2g (default: 8g); the disk is used as it is filled");
  withFormat(
    add(volume, "ls", "List volumes", "zonectl volume ls", async (context, command) =>
      (await commands()).ls(context, command.opts()),
    ),
  ).option("-q, --quiet", "names alone");
  add(volume, "rm", "Remove volumes with all that is in them", "zonectl volume rm data", async (context, command) =>
    (await commands()).rm(context, all(command)),
  ).addArgument(new Argument("<volume...>").argParser(collect));
  add(volume, "resize", "Make a volume larger", "zonectl volume resize data 4g", async (context, command) =>
    (await commands()).resize(context, first(command), command.args[1] ?? ""),
  )
    .argument("<volume>")
    .argument("<size>", "the new one");
  add(
    volume,
    "attach",
    "Give a zone that runs a volume",
    "zonectl volume attach web data:/data",
    async (context, command) => (await commands()).attach(context, first(command), command.args[1] ?? ""),
  )
    .addArgument(zone())
    .argument("<volume:target[:ro]>");
  add(
    volume,
    "detach",
    "Take a volume from a zone that runs",
    "zonectl volume detach web data",
    async (context, command) => (await commands()).detach(context, first(command), command.args[1] ?? ""),
  )
    .addArgument(zone())
    .argument("<volume>");
}
