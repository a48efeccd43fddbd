import { spawn } from "node:child_process";
import { mkdir, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { imageError, printable, refuse } from "./image-error.js";
import { type ImageSource, skopeoName } from "./reference.js";
import { skopeoError } from "./skopeo-error.js";
import type { UnpackOptions } from "./unpack.js";

export type SkopeoSource = Exclude<ImageSource, { kind: "builtin" }>;

export interface SkopeoOptions {
  /** Passed on from the bridge's environment: what skopeo needs and no more. */
  env: NodeJS.ProcessEnv;
  /** As Go names it. */
  architecture: string;
  /** A source that sends nothing for so long is given up. Milliseconds. */
  stallMs: number;
}

const PASSED_ON = [
  ...["PATH", "HOME", "REGISTRY_AUTH_FILE", "SSL_CERT_FILE", "SSL_CERT_DIR"],
  ...["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"],
];
const POLL_MS = 200;
const MAX_OUTPUT = 64 * 1024;

/**
 * Copies an image, as it is, into `directory`/image (skopeo's "dir:" layout: manifest.json, and blobs named by their digests).
 * "dir:" and not "oci:", because that would rewrite Docker's configs (and so the image's digest) and compress plain layers.
 * Skopeo checks every blob against its digest. Its temporary files are in `directory` too.
 * @returns the folder.
 */
export async function copyImage(
  source: SkopeoSource,
  directory: string,
  skopeo: SkopeoOptions,
  { limits, freeBytes, progress, signal }: UnpackOptions,
): Promise<string> {
  const image = join(directory, "image");
  await mkdir(image);
  const name = skopeoName(source);
  let phase = `asking for ${name}`;
  progress("pull", phase);
  await runSkopeo(
    ["copy", ...tlsOptions(source, "--src-tls-verify=false"), name, `dir:${image}`],
    source,
    directory,
    skopeo,
    signal,
    {
      onLine: (line) => {
        phase = printable(line.slice(0, 200));
      },
      onBytes: (bytes) => {
        if (bytes > limits.unpackedBytes) refuse(`it has more than ${limits.unpackedBytes} bytes`);
        if (bytes > freeBytes) throw imageError("DISK_FULL", `it has more than the ${freeBytes} bytes that are free`);
        progress("pull", phase, bytes);
      },
    },
  );
  return image;
}

/** The image's config, as its source has it now. */
export async function fetchConfig(
  source: SkopeoSource,
  directory: string,
  options: SkopeoOptions,
  signal: AbortSignal,
): Promise<Buffer> {
  const args = ["inspect", "--config", "--raw", ...tlsOptions(source, "--tls-verify=false"), skopeoName(source)];
  return runSkopeo(args, source, directory, options, signal, {});
}

/** As Docker does for registries on this host: https without a known certificate, then plain http. All others are verified. */
function tlsOptions(source: SkopeoSource, noVerify: string): string[] {
  return source.kind === "registry" && source.plainHttp ? [noVerify] : [];
}

interface Watch {
  onLine?: (line: string) => void;
  /** Called with the bytes below the directory; what it throws ends the run. */
  onBytes?: (bytes: number) => void;
}

async function runSkopeo(
  args: string[],
  source: SkopeoSource,
  directory: string,
  options: SkopeoOptions,
  signal: AbortSignal,
  watch: Watch,
): Promise<Buffer> {
  signal.throwIfAborted();
  const env: NodeJS.ProcessEnv = { LC_ALL: "C", TMPDIR: directory };
  for (const name of PASSED_ON) if (options.env[name] !== undefined) env[name] = options.env[name];
  // The policy of this host about signatures is containers-policy.json(5), which many hosts do not have: we go by digests.
  const platform = ["--insecure-policy", "--override-os", "linux", "--override-arch", options.architecture];
  const child = spawn("skopeo", [...platform, ...args], { env, stdio: ["ignore", "pipe", "pipe"] });
  let failure: unknown;
  const stop = (why: unknown) => {
    failure ??= why;
    child.kill("SIGKILL");
  };
  const cancel = () => stop(signal.reason);
  signal.addEventListener("abort", cancel, { once: true });

  let lastChange = Date.now();
  const output: Buffer[] = [];
  let outputBytes = 0;
  let complaint = "";
  child.stdout.on("data", (chunk: Buffer) => {
    lastChange = Date.now();
    outputBytes += chunk.length;
    if (watch.onLine)
      for (const line of chunk.toString("utf8").split("\n")) if (line.trim() !== "") watch.onLine(line.trim());
    if (!watch.onLine) output.push(chunk);
    if (!watch.onLine && outputBytes > MAX_CONFIG) stop(imageError("IMAGE_REFUSED", "its config is too large"));
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    complaint = (complaint + text).slice(-MAX_OUTPUT);
  });

  let bytes = 0;
  let polling = Promise.resolve();
  const poll = async () => {
    const now = await bytesBelow(directory);
    if (now !== bytes) lastChange = Date.now();
    bytes = now;
    watch.onBytes?.(now);
    if (Date.now() - lastChange > options.stallMs) {
      stop(imageError("REGISTRY_UNREACHABLE", `nothing came for ${options.stallMs / 1000} seconds; try again later`));
    }
  };
  const timer = setInterval(() => {
    polling = polling.then(poll).catch(stop);
  }, POLL_MS);

  try {
    const code = await new Promise<number | null>((resolve, reject) => {
      child.once("error", (error) => reject(notStarted(error)));
      child.once("close", resolve);
    });
    await polling;
    if (failure !== undefined) throw failure;
    if (code !== 0) throw skopeoError(complaint, source);
    return Buffer.concat(output);
  } finally {
    clearInterval(timer);
    signal.removeEventListener("abort", cancel);
  }
}

const MAX_CONFIG = 4 * 1024 * 1024;

function notStarted(error: Error): Error {
  return imageError(
    "REGISTRY_UNREACHABLE",
    `skopeo, which brings images, does not start: ${error.message}; install it`,
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
