import { existsSync, mkdirSync, renameSync } from "node:fs";
import { join } from "node:path";
import { repository } from "./bridge.js";
import { must } from "./program.js";
import type { Registry } from "./registry.js";

/** A Debian with these packages, as a tarball; kept between runs, since making it takes a minute or more. */
export async function debianTarball(name: string, packages: readonly string[] = []): Promise<string> {
  const folder = join(repository, ".cache");
  const tarball = join(folder, `${name}.tar`);
  if (existsSync(tarball)) return tarball;
  mkdirSync(folder, { recursive: true });
  const unfinished = join(folder, `${name}.new.tar`);
  await must("mmdebstrap", [
    ...["--quiet", "--variant=apt", ...packages.map((wanted) => `--include=${wanted}`)],
    ...["doc", "man", "locale", "info"].map((folder) => `--dpkgopt=path-exclude=/usr/share/${folder}/*`),
    ...["bookworm", unfinished],
  ]);
  renameSync(unfinished, tarball);
  return tarball;
}

/** Makes an image of one layer in the OCI layout `layout`, with these options of `umoci config`. */
export async function addImage(layout: string, tag: string, layer: string, config: readonly string[]): Promise<void> {
  if (!existsSync(layout)) await must("umoci", ["init", "--layout", layout]);
  await must("umoci", ["new", "--image", `${layout}:${tag}`]);
  await must("umoci", ["raw", "add-layer", "--image", `${layout}:${tag}`, layer]);
  if (config.length > 0) await must("umoci", ["config", "--image", `${layout}:${tag}`, ...config]);
}

/** Pushes an image of the layout to the registry; the reference by which it is run. */
export async function push(registry: Registry, layout: string, tag: string): Promise<string> {
  const reference = `docker://${registry.address}/${tag}:1`;
  await must("skopeo", ["copy", "--insecure-policy", "--dest-tls-verify=false", `oci:${layout}:${tag}`, reference]);
  return reference;
}
