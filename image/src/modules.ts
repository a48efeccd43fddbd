import { readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { BuildError } from "./errors.js";
import type { WantedModule } from "./module-list.js";
import { type Entry, file, type Origin } from "./tree.js";

/** A module and where its file is. */
export interface ResolvedModule extends WantedModule {
  /** Relative to the folder of modules.dep. */
  path: string;
}

/** The content of modules.dep(5): from each module's path to the paths that it depends on, the direct ones first. */
export type Dependencies = ReadonlyMap<string, readonly string[]>;

/** Reads the lines "PATH: PATH PATH..." of modules.dep(5), as depmod(8) writes them. */
export function parseDependencies(text: string): Dependencies {
  const dependencies = new Map<string, string[]>();
  for (const line of text.split("\n")) {
    const colon = line.indexOf(":");
    if (colon <= 0) continue;
    dependencies.set(
      line.slice(0, colon),
      line
        .slice(colon + 1)
        .split(" ")
        .filter((path) => path !== ""),
    );
  }
  return dependencies;
}

/** "kernel/drivers/misc/pvpanic/pvpanic-pci.ko" is the module pvpanic_pci: modprobe(8) takes - and _ for the same. */
export function moduleName(path: string): string {
  return basename(path)
    .replace(/\.ko.*$/, "")
    .replaceAll("-", "_");
}

/**
 * The wanted modules and what they depend on, each once, in an order in which they can be loaded one by one. Modules
 * that are built into the kernel (names of `builtin`) are left out. Throws a BuildError on a name that is neither.
 */
export function inLoadOrder(
  wanted: readonly WantedModule[],
  dependencies: Dependencies,
  builtin: ReadonlySet<string>,
): ResolvedModule[] {
  const paths = new Map([...dependencies.keys()].map((path) => [moduleName(path), path]));
  const order = new Map<string, ResolvedModule>();
  for (const { name, why } of wanted) {
    const path = paths.get(name);
    if (path === undefined) {
      if (builtin.has(name)) continue;
      throw new BuildError(`the kernel has no module ${name} (${why}), neither as a file nor built in`);
    }
    // modules.dep lists what must be loaded last first: man 5 modules.dep.
    for (const needed of [...(dependencies.get(path) ?? [])].reverse())
      if (!order.has(needed))
        order.set(needed, { name: moduleName(needed), path: needed, why: `${name} depends on it` });
    if (!order.has(path)) order.set(path, { name, path, why });
  }
  return [...order.values()];
}

/** A kernel's modules: those of `boot` for the initramfs as /modules/NN-NAME.ko, those of `later` for the root file system. */
export async function moduleEntries(
  folder: string,
  origin: Origin,
  boot: readonly WantedModule[],
  later: readonly WantedModule[],
): Promise<{ initramfs: Entry[]; root: Entry[] }> {
  const dependencies = parseDependencies(await readFile(join(folder, "modules.dep"), "utf8"));
  const builtin = new Set((await readFile(join(folder, "modules.builtin"), "utf8")).split("\n").map(moduleName));
  const loaded = inLoadOrder(boot, dependencies, builtin);
  const kept = inLoadOrder(later, dependencies, builtin).filter(({ path }) => !loaded.some((one) => one.path === path));

  const initramfs: Entry[] = [];
  for (const [index, { name, path, why }] of loaded.entries()) {
    const number = String(index).padStart(2, "0");
    initramfs.push(file(`modules/${number}-${name}.ko`, await readModule(join(folder, path)), origin, why));
  }
  const root: Entry[] = [];
  const target = `lib/modules/${basename(folder)}`;
  for (const { path, why } of kept)
    root.push(file(`${target}/${path}`, await readModule(join(folder, path)), origin, why));
  if (kept.length > 0) {
    const lines = kept.map(({ path }) => {
      const needed = (dependencies.get(path) ?? []).filter((one) => kept.some((other) => other.path === one));
      return `${path}:${needed.map((one) => ` ${one}`).join("")}\n`;
    });
    const why = "what those modules depend on beyond what PID 1 has loaded";
    root.push(file(`${target}/modules.dep`, lines.join(""), { kind: "zone-agent" }, why));
  }
  return { initramfs, root };
}

/** Modules stay as they are, with their signatures. Throws a BuildError on a compressed one: PID 1 does not decompress. */
async function readModule(path: string): Promise<Buffer> {
  if (!path.endsWith(".ko")) throw new BuildError(`${path} is compressed, which PID 1 cannot load`);
  return readFile(path);
}
