import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { imageError, printable, refuse } from "./image-error.js";
import type { PullContext } from "./pull-context.js";
import { type ImageSource, skopeoName } from "./reference.js";
import { skopeoError } from "./skopeo-error.js";
import { runSkopeo } from "./skopeo-process.js";

export type SkopeoSource = Exclude<ImageSource, { kind: "builtin" }>;

export interface SkopeoOptions {
  /** The bridge's environment; skopeo gets what it needs of it and no more. */
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
  { limits, freeBytes, progress, signal }: PullContext,
): Promise<string> {
  const image = join(directory, "image");
  await mkdir(image);
  const name = skopeoName(source);
  let said = `asking for ${name}`;
  progress("pull", said);
  const args = [
    ...globalOptions(skopeo),
    "copy",
    ...tlsOptions(source, "--src-tls-verify=false"),
    name,
    `dir:${image}`,
  ];
  const { code, stderr } = await runSkopeo(args, {
    env: environment(skopeo, directory),
    directory,
    stallMs: skopeo.stallMs,
    signal,
    onOutput: (chunk) => {
      said = printable(chunk.toString("utf8").trim().split("\n").at(-1) ?? "").slice(0, 200);
    },
    onBytes: (bytes) => {
      if (bytes > limits.unpackedBytes) refuse(`it has more than ${limits.unpackedBytes} bytes`);
      if (bytes > freeBytes) throw imageError("DISK_FULL", `it has more than the ${freeBytes} bytes that are free`);
      progress("pull", said, bytes);
    },
  });
  if (code !== 0) throw skopeoError(stderr, source);
  return image;
}

/** The image's config, as its source has it now. */
export async function fetchConfig(
  source: SkopeoSource,
  directory: string,
  skopeo: SkopeoOptions,
  { limits, signal }: PullContext,
): Promise<Buffer> {
  const tls = tlsOptions(source, "--tls-verify=false");
  const args = [...globalOptions(skopeo), "inspect", "--config", "--raw", ...tls, skopeoName(source)];
  const output: Buffer[] = [];
  let bytes = 0;
  const { code, stderr } = await runSkopeo(args, {
    env: environment(skopeo, directory),
    directory,
    stallMs: skopeo.stallMs,
    signal,
    onOutput: (chunk) => {
      bytes += chunk.length;
      if (bytes > limits.configBytes) refuse(`its config has more than ${limits.configBytes} bytes`);
      output.push(chunk);
    },
  });
  if (code !== 0) throw skopeoError(stderr, source);
  return Buffer.concat(output);
}

/** A policy about signatures (containers-policy.json(5)) is what many hosts do not have: digests are what we go by. */
function globalOptions({ architecture }: SkopeoOptions): string[] {
  return ["--insecure-policy", "--override-os", "linux", "--override-arch", architecture];
}

/** As Docker does for registries on this host: https without a known certificate, then plain http. All others are verified. */
function tlsOptions(source: SkopeoSource, noVerify: string): string[] {
  return source.kind === "registry" && source.plainHttp ? [noVerify] : [];
}

function environment({ env }: SkopeoOptions, directory: string): NodeJS.ProcessEnv {
  const passed: NodeJS.ProcessEnv = { LC_ALL: "C", TMPDIR: directory };
  for (const name of PASSED_ON) if (env[name] !== undefined) passed[name] = env[name];
  return passed;
}
