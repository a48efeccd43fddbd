#!/usr/bin/env -S node --
import { existsSync } from "node:fs";

// "--" above: Node 20 takes --env-file for itself wherever it stands, even after the script, unless it comes after "--".
// The CLI is one bundled file, made by `npm run build`; this launcher exists so that npm can link it before that.
const bundle = new URL("../build/zonectl.mjs", import.meta.url);
if (!existsSync(bundle)) {
  process.stderr.write("zonectl: not built yet; run `npm run setup` in the repository root first\n");
  process.exit(125);
}
await import(bundle.href);
