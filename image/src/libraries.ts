import { basename } from "node:path";
import { BuildError } from "./errors.js";
import { run } from "./run.js";

/** Where the x86-64 ABI puts the dynamic loader; programs name it absolutely, so it goes to this very path. */
export const LOADER = "/lib64/ld-linux-x86-64.so.2";

/** A shared library by its absolute name, and the programs that load it. */
export interface Library {
  path: string;
  neededBy: string[];
}

/**
 * The shared libraries that the programs and libraries load, recursively, sorted by name; the loader itself is not among
 * them. It is the loader that resolves them (ld.so(8), --list), which maps the files but runs nothing of them. Throws a
 * BuildError when a library is missing.
 */
export async function libraryClosure(objects: readonly string[]): Promise<Library[]> {
  const neededBy = new Map<string, string[]>();
  for (const object of objects)
    for (const path of parseLoaderList(await run(LOADER, ["--list", object]), object))
      neededBy.set(path, [...(neededBy.get(path) ?? []), basename(object)]);
  return [...neededBy.keys()].sort().map((path) => ({ path, neededBy: neededBy.get(path) ?? [] }));
}

/** What `ld.so --list` printed about `object`: absolute names of libraries, without the vDSO and the loader. */
export function parseLoaderList(text: string, object: string): string[] {
  const libraries: string[] = [];
  for (const line of text.split("\n")) {
    const [, name, target] = /^\s*(\S+) => (.+?)(?: \(0x[0-9a-f]+\))?$/.exec(line) ?? [];
    if (name === undefined || target === undefined || name === LOADER) continue;
    if (!target.startsWith("/")) throw new BuildError(`${object} needs ${name}, which is not installed (${target})`);
    libraries.push(target);
  }
  return libraries;
}
