// npm run proto:check: compares the API with the one that was last accepted (proto/api.json), and fails on what would break
// a peer built from it, or when api.json is stale. npm run proto:accept writes it anew.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { breakingChanges } from "./breaking.mjs";
import { loadRoot, protoDir } from "./load.mjs";

const file = join(protoDir, "api.json");
const now = loadRoot().toJSON({ keepComments: false });
const text = `${JSON.stringify({ nested: { google: { nested: { rpc: now.nested.google.nested.rpc } }, zone: now.nested.zone } }, null, 1)}\n`;
let accepted = "";
try {
  accepted = readFileSync(file, "utf8");
} catch (error) {
  if (error.code !== "ENOENT" || !process.argv.includes("--accept")) throw error;
}

if (process.argv.includes("--accept")) {
  writeFileSync(file, text);
} else {
  const breaks = breakingChanges(JSON.parse(accepted), JSON.parse(text));
  for (const change of breaks) process.stderr.write(`proto: breaking change: ${change}\n`);
  if (breaks.length === 0 && accepted !== text) {
    process.stderr.write("proto: the API has grown; accept it with `npm run proto:accept` and commit proto/api.json\n");
  }
  process.exitCode = accepted === text ? 0 : 1;
}
