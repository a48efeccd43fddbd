import { readdir } from "node:fs/promises";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { EROFS_OPTIONS } from "./erofs.js";
import { BuildError } from "./errors.js";
import { exists, sha256, sha256OfFile } from "./files.js";
import type { Kernel } from "./kernel.js";
import { type Library, LOADER, libraryClosure } from "./libraries.js";
import { recordsOf } from "./manifest.js";
import { BOOT_MODULES, LATER_MODULES } from "./module-list.js";
import { moduleEntries } from "./modules.js";
import { versionsOf } from "./origins.js";
import type { Sources } from "./sources.js";
import type { Entry } from "./tree.js";

/** Packages whose programs decide over the bytes of an image. */
const TOOL_PACKAGES = ["binutils", "erofs-utils"] as const;
/** Hexadecimal digits of a version: with 48 bits, two contents meet once in millions of builds. */
const VERSION_DIGITS = 12;

/** Everything that decides over the content of an image, collected but for what takes long. */
export interface Inputs {
  version: string;
  sources: Sources;
  kernel: Kernel;
  libraries: Library[];
  modules: { initramfs: Entry[]; root: Entry[] };
  tools: Record<string, string>;
}

/** Finds and hashes all that an image of these sources is made of. Throws a BuildError that names what is missing. */
export async function collect(sources: Sources, kernel: Kernel): Promise<Inputs> {
  for (const path of Object.values(sources))
    if (!(await exists(path))) throw new BuildError(`${path} is missing: npm run build makes it (crun: npm run setup)`);
  const libraries = await libraryClosure([sources.node, sources.crun, sources.addon]);
  const modules = await modulesOf(kernel);
  const tools = Object.fromEntries(await versionsOf(TOOL_PACKAGES));

  const parts: string[] = [kernel.flavour, kernel.release, ...EROFS_OPTIONS, ...Object.entries(tools).flat()];
  // A library counts by its name too, which is where it goes; the paths of the others are the build host's own.
  for (const [name, path] of Object.entries(sources)) parts.push(name, await sha256OfFile(path));
  for (const path of [LOADER, ...libraries.map((library) => library.path)]) parts.push(path, await sha256OfFile(path));
  for (const path of await ownCode()) parts.push(basename(path), await sha256OfFile(path));
  parts.push(await sha256OfFile(kernel.image), JSON.stringify([recordsOf(modules.initramfs), recordsOf(modules.root)]));
  const version = sha256(JSON.stringify(parts)).slice(0, VERSION_DIGITS);
  return { version, sources, kernel, libraries, modules, tools };
}

async function modulesOf(kernel: Kernel): Promise<{ initramfs: Entry[]; root: Entry[] }> {
  if (kernel.modules === undefined) return { initramfs: [], root: [] };
  return moduleEntries(kernel.modules, kernel.origin, BOOT_MODULES, LATER_MODULES);
}

/** The builder's own code, compiled or not, without its tests: another builder makes another image. */
async function ownCode(): Promise<string[]> {
  const folder = fileURLToPath(new URL(".", import.meta.url));
  const names = (await readdir(folder)).filter((name) => /^[a-z-]+\.(js|ts)$/.test(name));
  return names.sort().map((name) => join(folder, name));
}
