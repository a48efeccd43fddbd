// Tells whether anything that a build reads has changed since it was last done.
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { root } from "./run.mjs";

const MADE = new Set(["node_modules", "dist", "gen", "build", ".cache", ".git"]);
const SOURCES = ["proto", "native", "link", "agent", "host-bridge", "cli", "image", "test", "bench", "scripts"];

/** @param {import("node:crypto").Hash} hash @param {string} path */
function add(hash, path) {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (!stat) return;
  if (!stat.isDirectory()) {
    hash.update(`${path}\0${stat.size}\0${stat.mtimeMs}\n`);
    return;
  }
  for (const name of readdirSync(path).sort()) if (!MADE.has(name)) add(hash, join(path, name));
}

/** Of all sources, by path, size and modification time, and of this Node. */
export function fingerprint() {
  const hash = createHash("sha256").update(process.version);
  for (const name of [...SOURCES, "package-lock.json", "tsconfig.base.json", "tsconfig.json"])
    add(hash, join(root, name));
  return hash.digest("hex");
}

/** @param {string} name @param {string} value */
export function isCurrent(name, value) {
  try {
    return readFileSync(stampPath(name), "utf8") === value;
  } catch {
    return false;
  }
}

/** @param {string} name @param {string} value */
export function setCurrent(name, value) {
  mkdirSync(dirname(stampPath(name)), { recursive: true });
  writeFileSync(stampPath(name), value);
}

/** @param {string} name */
function stampPath(name) {
  return join(root, ".cache", "stamps", name);
}
