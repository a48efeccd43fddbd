import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

/**
 * A program or library of native/c/host: beside the running bundle, else native/build of the repository, seen from
 * host-bridge/{build,src/domains,dist/domains}. Undefined when it has not been built.
 */
export function hostTool(name: string): string | undefined {
  return ["./", "../../native/build/", "../../../native/build/"]
    .map((path) => fileURLToPath(new URL(`${path}${name}`, import.meta.url)))
    .find((path) => existsSync(path));
}
