import { realpath } from "node:fs/promises";
import { run } from "./run.js";
import type { Origin } from "./tree.js";

/** Which Debian packages the files of this host came from, and in which versions. Files that no package owns are "host". */
export async function originsOf(paths: readonly string[]): Promise<Map<string, Origin>> {
  const spellings = new Map<string, string[]>();
  for (const path of paths) spellings.set(path, spellingsOf(path, await realpath(path)));
  // dpkg-query exits with 1 when one of the names is unknown, and most spellings are.
  const asked = [...new Set([...spellings.values()].flat())];
  const owners = parseOwners(await run("dpkg-query", ["--search", ...asked], { accept: [1] }));
  const versions = await versionsOf([...new Set(owners.values())]);

  const origins = new Map<string, Origin>();
  for (const [path, names] of spellings) {
    const owner = names.map((name) => owners.get(name)).find((name) => name !== undefined);
    const version = owner === undefined ? undefined : versions.get(owner);
    if (owner === undefined || version === undefined) origins.set(path, { kind: "host", path });
    else origins.set(path, { kind: "debian", package: owner.replace(/:.*/, ""), version });
  }
  return origins;
}

/** Versions of installed packages. Throws a BuildError when one is not installed. */
export async function versionsOf(packages: readonly string[]): Promise<Map<string, string>> {
  if (packages.length === 0) return new Map();
  // biome-ignore lint/suspicious/noTemplateCurlyInString: dpkg-query's own format
  const text = await run("dpkg-query", ["--show", "--showformat", "${binary:Package}\t${Version}\n", ...packages]);
  const versions = new Map<string, string>();
  for (const line of text.split("\n")) {
    const [name, version] = line.split("\t");
    if (!name || version === undefined) continue;
    versions.set(name, version);
    versions.set(name.replace(/:.*/, ""), version);
  }
  return versions;
}

/** Lines of `dpkg-query --search`: "PACKAGE[:ARCH][, PACKAGE...]: PATH". Diversions ("diversion by...") are passed over. */
export function parseOwners(text: string): Map<string, string> {
  const owners = new Map<string, string>();
  for (const line of text.split("\n")) {
    const match = /^([a-z0-9][a-z0-9+.:-]*)(?:, [^/]*)?: (\/.*)$/.exec(line);
    if (match?.[1] !== undefined && match[2] !== undefined) owners.set(match[2], match[1]);
  }
  return owners;
}

/** Since /lib became a link to /usr/lib, dpkg knows a file by either name, depending on its package's age. */
function spellingsOf(path: string, real: string): string[] {
  return [...new Set([path, `/usr${path}`, real, real.replace(/^\/usr/, "")])].filter((name) => name.startsWith("/"));
}
