// Finds and parses the .proto files; what generate.mjs and check.mjs share.
import { readdirSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import protobuf from "protobufjs";

export const protoDir = join(dirname(fileURLToPath(import.meta.url)), "..");

/** Paths of all .proto files, relative to protoDir, sorted. */
export function protoFiles() {
  return ["zone", "google"]
    .flatMap((top) => readdirSync(join(protoDir, top), { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile() && entry.name.endsWith(".proto"))
    .map((entry) => relative(protoDir, join(entry.parentPath ?? entry.path, entry.name)))
    .sort();
}

/** The parsed and resolved root. */
export function loadRoot() {
  const root = new protobuf.Root();
  const find = root.resolvePath.bind(root);
  root.resolvePath = (origin, target) =>
    /^(zone|google\/rpc)\//.test(target) ? join(protoDir, target) : find(origin, target);
  root.loadSync(
    protoFiles().map((file) => join(protoDir, file)),
    { keepCase: false },
  );
  root.resolveAll();
  return root;
}

/** Every service below `node`, depth first. */
export function services(node) {
  return node.nestedArray.flatMap((child) =>
    child instanceof protobuf.Service ? [child] : child.nestedArray ? services(child) : [],
  );
}
