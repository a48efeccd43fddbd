// Compiles node-pty's addon (its install script is off, and would ask the network for headers). Only tests use it.
// Idempotent: does nothing when the addon is newer than its source and loads.
import { execFileSync } from "node:child_process";
import { mkdirSync, realpathSync, renameSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

const require = createRequire(import.meta.url);
const root = dirname(require.resolve("node-pty/package.json"));
const source = join(root, "src/unix/pty.cc");
const target = join(root, "build/Release/pty.node");

if (!isFresh()) compile();

function isFresh() {
  try {
    if (statSync(target).mtimeMs < statSync(source).mtimeMs) return false;
    require(target);
    return true;
  } catch {
    return false; // missing, or made for another machine: compile it
  }
}

function compile() {
  const nodeHeaders = join(dirname(realpathSync(process.execPath)), "../include/node");
  const addonApi = dirname(require.resolve("node-addon-api/package.json"));
  mkdirSync(dirname(target), { recursive: true });
  const temporary = `${target}.${process.pid}`; // renamed at the end: two builds at once do no harm
  const flags = [
    "-shared",
    "-fPIC",
    "-O2",
    "-std=c++17",
    "-fexceptions",
    "-DNAPI_CPP_EXCEPTIONS",
    "-DNODE_GYP_MODULE_NAME=pty",
  ];
  execFileSync("g++", [...flags, `-I${nodeHeaders}`, `-I${addonApi}`, source, "-lutil", "-o", temporary], {
    stdio: "inherit",
  });
  renameSync(temporary, target);
}
