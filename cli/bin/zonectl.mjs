#!/usr/bin/env node
import { existsSync } from "node:fs";

// The CLI is one bundled file, made by `npm run build`; this launcher exists so that npm can link it before that.
const bundle = new URL("../build/zonectl.mjs", import.meta.url);
if (!existsSync(bundle)) {
  process.stderr.write("zonectl: not built yet; run `npm run setup` in the repository root first\n");
  process.exit(125);
}
await import(bundle.href);
