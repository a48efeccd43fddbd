// Brings a fresh clone to where zonectl works: Debian packages, npm packages, build, zone image. Does only what is missing.

import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fingerprint, isCurrent, setCurrent } from "./fingerprint.mjs";
import { installPackages, runtimePackages, testPackages } from "./packages.mjs";
import { Failure, quiet, root, step } from "./run.mjs";

/** @param {{ forTests?: boolean }} [options] */
export async function setup({ forTests = false } = {}) {
  const [major = 0] = process.versions.node.split(".").map(Number);
  if (major < 20) throw new Failure(`Node 20 or later is needed, this is ${process.version}`);
  if (process.platform !== "linux" || process.arch !== "x64") {
    throw new Failure(`zones need Linux on x86-64, this is ${process.platform} on ${process.arch}`);
  }
  await installPackages(forTests ? [...runtimePackages, ...testPackages] : runtimePackages);
  await npmPackages();
  await build();
  if (forTests) await quiet(process.execPath, ["cli/scripts/build-node-pty.mjs"]);
}

async function npmPackages() {
  const lock = createHash("sha256")
    .update(readFileSync(join(root, "package-lock.json")))
    .digest("hex");
  if (existsSync(join(root, "node_modules")) && isCurrent("npm", lock)) return;
  await step("installing npm packages", () => quiet("npm", ["ci"]));
  setCurrent("npm", lock);
}

async function build() {
  const image = join(root, ".cache", "image", "current", "manifest.json");
  const sources = fingerprint();
  if (isCurrent("build", sources) && existsSync(image)) return;
  const npm = (/** @type {string} */ name) => quiet("npm", ["run", "--silent", name]);
  await step("generating code from the .proto files", () => npm("generate"));
  await step("compiling PID 1 and the Node addon", () => npm("native"));
  await step("compiling TypeScript", () => quiet("npx", ["tsc", "-b"]));
  await step("bundling agent, bridge and zonectl", () => npm("bundle"));
  await step("building the zone image (kernel, PID 1, Node, agent)", () => npm("image"));
  setCurrent("build", sources);
}
