import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { RuntimeError } from "./runtime-error.js";

/** An OCI bundle on this host. */
export interface Bundle {
  /** Absolute. */
  folder: string;
  /** Absolute: the root file system. */
  root: string;
  ociVersion: string;
  annotations: Record<string, string>;
  /** config.json for a zone in which the root is `rootInZone`. */
  configFor(rootInZone: string): Buffer;
}

interface Hook {
  path: string;
  args?: string[];
  env?: string[];
}
interface Config {
  ociVersion?: string;
  root?: { path?: string };
  annotations?: Record<string, string>;
  hooks?: Record<string, Hook[] | null>;
}

/** Reads a bundle's config.json. Throws RuntimeError. */
export function readBundle(path: string): Bundle {
  const folder = resolve(path);
  const text = readConfig(folder);
  const config = parse(text);
  const root = resolve(folder, config.root?.path ?? "rootfs");
  return {
    folder,
    root,
    ociVersion: config.ociVersion ?? "",
    annotations: config.annotations ?? {},
    configFor: (rootInZone) => Buffer.from(withHooks(text, config.hooks, (value) => inZone(value, root, rootInZone))),
  };
}

function readConfig(folder: string): string {
  try {
    return readFileSync(join(folder, "config.json"), "utf8");
  } catch (error) {
    throw new RuntimeError(`cannot read config.json of the bundle: ${error instanceof Error ? error.message : error}`);
  }
}

function parse(text: string): Config {
  try {
    return JSON.parse(text) as Config;
  } catch {
    throw new RuntimeError("config.json of the bundle is no JSON");
  }
}

/**
 * A hook names files in the bundle by their absolute paths, and runs where the runtime does: in the zone. The rest of the file stays
 * as it is, to the byte: an integer of 64 bits would not survive JSON.parse.
 */
function withHooks(text: string, hooks: Config["hooks"], rewrite: (value: string) => string): string {
  if (!hooks || Object.values(hooks).every((list) => !list?.length)) return text;
  const moved = Object.fromEntries(
    Object.entries(hooks).map(([when, list]) => [
      when,
      list?.map((hook) => ({
        ...hook,
        path: rewrite(hook.path),
        ...(hook.args && { args: hook.args.map(rewrite) }),
        ...(hook.env && { env: hook.env.map(rewrite) }),
      })),
    ]),
  );
  const { hooks: _theirs, ...rest } = JSON.parse(text) as Config;
  return JSON.stringify({ ...rest, hooks: moved });
}

function inZone(value: string, root: string, rootInZone: string): string {
  return value.replaceAll(`${root}/`, `${rootInZone}/`);
}
