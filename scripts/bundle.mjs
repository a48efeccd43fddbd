// npm run bundle: one file each for the agent, the bridge and zonectl, so that they start fast and the zone carries no
// node_modules.
import { rmSync } from "node:fs";
import { join } from "node:path";
import { build } from "esbuild";
import { root, script } from "./lib/run.mjs";

/** ESM bundles have no require; the CommonJS packages inside them want one. */
const requireShim =
  'import { createRequire as __createRequire } from "node:module"; const require = __createRequire(import.meta.url);';

/** @type {import("esbuild").BuildOptions} */
const common = {
  bundle: true,
  platform: "node",
  target: "node20",
  format: "esm",
  banner: { js: requireShim },
  logLevel: "warning",
  legalComments: "none",
  absWorkingDir: root,
};

script(async () => {
  // Names of split chunks change with their content: what an earlier build left would stay.
  for (const folder of ["agent", "host-bridge", "cli"])
    rmSync(join(root, folder, "build"), { recursive: true, force: true });
  await Promise.all([
    build({
      ...common,
      entryPoints: { agent: "agent/src/main.ts", reflection: "agent/src/reflection.ts" },
      outdir: "agent/build",
      outExtension: { ".js": ".mjs" },
      minify: true,
      keepNames: true,
    }),
    build({
      ...common,
      entryPoints: { "zone-bridge": "host-bridge/src/main.ts" },
      outdir: "host-bridge/build",
      outExtension: { ".js": ".mjs" },
      external: ["classic-level", "@grpc/reflection", "grpc-health-check"],
    }),
    build({
      ...common,
      entryPoints: { zonectl: "cli/src/main.ts" },
      outdir: "cli/build",
      outExtension: { ".js": ".mjs" },
      splitting: true,
      minifyWhitespace: true,
      chunkNames: "zonectl-[hash]",
    }),
  ]);
});
