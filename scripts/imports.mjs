// Fails when a package imports another against the direction of docs/architecture.md.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Failure, root, script } from "./lib/run.mjs";

/** What each package may import of the others. @type {Record<string, string[]>} */
const may = {
  proto: [],
  native: [],
  tar: [],
  link: ["proto", "native"],
  agent: ["proto", "native", "link", "tar"],
  "host-bridge": ["proto", "native", "link", "tar"],
  cli: ["proto", "tar"],
  image: [],
  test: ["proto", "native", "link", "host-bridge"],
  bench: ["proto", "test"],
};

script(async () => {
  /** @type {string[]} */
  const wrong = [];
  for (const [name, allowed] of Object.entries(may)) {
    for (const entry of readdirSync(join(root, name, "src"), { recursive: true, withFileTypes: true })) {
      if (!entry.isFile() || !entry.name.endsWith(".ts")) continue;
      const file = join(entry.parentPath, entry.name);
      const text = readFileSync(file, "utf8");
      for (const [, imported = ""] of text.matchAll(/from "@zone\/([a-z-]+)/g)) {
        if (imported !== name && !allowed.includes(imported))
          wrong.push(`${file}: ${name} must not import ${imported}`);
      }
      for (const [, path = ""] of text.matchAll(/from "((?:\.\.\/)+[^"]*)"/g)) {
        if (!join(file, "..", path).startsWith(join(root, name))) wrong.push(`${file}: ${path} leaves its package`);
      }
    }
  }
  if (wrong.length > 0) throw new Failure(wrong.join("\n"));
});
