import { execFileSync } from "node:child_process";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

// node-pty's addon must be there before node-pty is loaded, so it is compiled (if need be) as this module is.
execFileSync(process.execPath, [fileURLToPath(new URL("../../scripts/build-node-pty.mjs", import.meta.url))]);

/** node-pty, for tests alone. */
export const pty = createRequire(import.meta.url)("node-pty") as typeof import("node-pty");
