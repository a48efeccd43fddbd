import { spawn } from "node:child_process";
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { imageError } from "./image-error.js";

export interface SkopeoRun {
  /** All of its environment. */
  env: NodeJS.ProcessEnv;
  /** Where it writes: growth there is a sign of life. */
  directory: string;
  /** Without a sign of life for so long it is given up. Milliseconds. */
  stallMs: number;
  signal: AbortSignal;
  /** Takes what it writes to stdout. What this or `onBytes` throws ends the run with that. */
  onOutput: (chunk: Buffer) => void;
  /** Called a few times a second with the bytes below the directory. */
  onBytes?: (bytes: number) => void;
}

const POLL_MS = 200;
const MAX_STDERR = 64 * 1024;

/** Runs skopeo to its end, which is SIGKILL when `signal` aborts. Settles when it is gone. */
export async function runSkopeo(args: string[], run: SkopeoRun): Promise<{ code: number | null; stderr: string }> {
  run.signal.throwIfAborted();
  const child = spawn("skopeo", args, { env: run.env, stdio: ["ignore", "pipe", "pipe"] });
  let failure: unknown;
  const stop = (why: unknown) => {
    failure ??= why;
    child.kill("SIGKILL");
  };
  const cancel = () => stop(run.signal.reason);
  run.signal.addEventListener("abort", cancel, { once: true });

  let lastSign = performance.now();
  child.stdout.on("data", (chunk: Buffer) => {
    lastSign = performance.now();
    try {
      run.onOutput(chunk);
    } catch (error) {
      stop(error);
    }
  });
  let stderr = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr = (stderr + text).slice(-MAX_STDERR);
  });

  let bytes = 0;
  const look = async () => {
    const now = await bytesBelow(run.directory);
    if (now !== bytes) lastSign = performance.now();
    bytes = now;
    run.onBytes?.(now);
    if (performance.now() - lastSign > run.stallMs) {
      throw imageError("REGISTRY_UNREACHABLE", `nothing came for ${run.stallMs / 1000} seconds; try again later`);
    }
  };
  let looking = Promise.resolve();
  const timer = setInterval(() => {
    looking = looking.then(look).catch(stop);
  }, POLL_MS);

  try {
    const code = await new Promise<number | null>((resolve, reject) => {
      child.once("error", (error) => reject(notStarted(error)));
      child.once("close", resolve);
    });
    await looking;
    if (failure !== undefined) throw failure;
    return { code, stderr };
  } finally {
    clearInterval(timer);
    run.signal.removeEventListener("abort", cancel);
  }
}

function notStarted(error: Error): Error {
  return imageError(
    "SKOPEO_MISSING",
    `skopeo, which brings images, does not start (${error.message}); install it`,
    error,
  );
}

/** Files may be renamed or removed while we look; the next look counts them. */
async function bytesBelow(directory: string): Promise<number> {
  const gone = () => undefined;
  let bytes = 0;
  for (const entry of (await readdir(directory, { recursive: true, withFileTypes: true }).catch(gone)) ?? []) {
    if (entry.isFile()) bytes += (await stat(join(entry.parentPath, entry.name)).catch(gone))?.size ?? 0;
  }
  return bytes;
}
