// npm run image [-- --kernel debian|zone --out DIR]
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { buildImage } from "./build.js";
import { BuildError } from "./errors.js";
import { debianKernel, FLAVOURS, type Flavour, type Kernel, type Progress, zoneKernel } from "./kernel.js";
import { sizeTable } from "./size-table.js";
import { sourcesOf } from "./sources.js";

const USAGE = "usage: npm run image [-- [--kernel debian|zone] [--out DIR]]";

async function main(args: string[]): Promise<void> {
  const repository = join(dirname(fileURLToPath(import.meta.url)), "..", "..");
  const cache = join(repository, ".cache");
  const { flavour, out } = parse(args, join(cache, "image"));
  const progress: Progress = (line) => process.stderr.write(`image: ${line}\n`);

  const kernel = await kernelOf(flavour, join(cache, "kernel"), progress);
  const { path, manifest, fresh } = await buildImage(
    await sourcesOf(repository, process.execPath),
    kernel,
    out,
    progress,
  );
  process.stdout.write(
    `image ${manifest.version} ${fresh ? "built" : "is up to date"}: ${path}\n${sizeTable(manifest)}\n`,
  );
}

function kernelOf(flavour: Flavour, cache: string, progress: Progress): Promise<Kernel> {
  return flavour === "debian" ? debianKernel(cache, progress) : zoneKernel(cache);
}

function parse(args: string[], standardOut: string): { flavour: Flavour; out: string } {
  try {
    const { values } = parseArgs({ args, options: { kernel: { type: "string" }, out: { type: "string" } } });
    const flavour = FLAVOURS.find((one) => one === (values.kernel ?? "debian"));
    if (flavour === undefined) throw new BuildError(`there is no kernel "${values.kernel}"`);
    return { flavour, out: values.out === undefined ? standardOut : resolve(values.out) };
  } catch (error) {
    throw new BuildError(`${error instanceof Error ? error.message : String(error)}\n${USAGE}`, error);
  }
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof BuildError)) throw error;
  process.stderr.write(`image: ${error.message}\n`);
  process.exitCode = 1;
}
