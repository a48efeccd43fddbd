import { readFileSync } from "node:fs";
import { release } from "node:os";
import { basename, join } from "node:path";
import { loadModule } from "@zone/native";
import { errnoOf } from "../errors.js";

/** /lib/modules/RELEASE of the running kernel. */
export function moduleDirectory(root = "/lib/modules"): string {
  return join(root, release());
}

/** "kernel/fs/fuse/virtio-fs.ko" is virtio_fs: modprobe(8) takes - and _ for the same. */
export function moduleName(path: string): string {
  return basename(path)
    .replace(/\.ko.*$/, "")
    .replaceAll("-", "_");
}

/** The file of a module and what must be loaded before it, in order; undefined when modules.dep(5) has no such module. */
export function loadOrder(modulesDep: string, name: string): string[] | undefined {
  const wanted = name.replaceAll("-", "_");
  for (const line of modulesDep.split("\n")) {
    const colon = line.indexOf(":");
    if (colon <= 0 || moduleName(line.slice(0, colon)) !== wanted) continue;
    const needed = line
      .slice(colon + 1)
      .split(" ")
      .filter((path) => path !== "");
    // Direct ones come first there, so what has to be loaded first comes last.
    return [...needed.reverse(), line.slice(0, colon)];
  }
  return undefined;
}

/**
 * Loads a kernel module, with what it depends on, when it is first wanted; one that is loaded already is well. False when
 * `directory` has no such module: it may be built into the kernel, or there is none. Throws the errno of finit_module(2).
 */
export function ensureModule(name: string, directory: string = moduleDirectory()): boolean {
  let modulesDep: string;
  try {
    modulesDep = readFileSync(join(directory, "modules.dep"), "utf8");
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return false;
    throw error;
  }
  const files = loadOrder(modulesDep, name);
  for (const file of files ?? []) loadModule(join(directory, file));
  return files !== undefined;
}

/** Whether the kernel has a file system now; /proc/filesystems. */
export function hasFileSystem(type: string): boolean {
  return readFileSync("/proc/filesystems", "latin1")
    .split("\n")
    .some((line) => line.split("\t")[1] === type);
}

/** Modules of file systems that are not called as their type is. */
const MODULES: Readonly<Record<string, readonly string[]>> = { "9p": ["9pnet_virtio", "9p"] };

/** Whether the kernel has a file system, after loading its module when that is needed. Throws the errno of finit_module(2). */
export function ensureFileSystem(type: string, directory?: string): boolean {
  if (hasFileSystem(type)) return true;
  for (const name of MODULES[type] ?? [type]) ensureModule(name, directory);
  return hasFileSystem(type);
}
