import { createHash } from "node:crypto";
import { imageError, printable, refuse } from "./image-error.js";
import type { ImageConfig } from "./image-store.js";
import type { ImageLimits } from "./limits.js";

/** A blob as a manifest names it. */
export interface Descriptor {
  /** "sha256:" and 64 hexadecimal digits. */
  digest: string;
  size: number;
}

/** What is used of an image manifest: OCI, or Docker's schema 2. */
export interface ImageManifest {
  config: Descriptor;
  layers: Descriptor[];
}

const MANIFEST_TYPES = [
  undefined, // OCI 1.0 does not ask for one
  "application/vnd.oci.image.manifest.v1+json",
  "application/vnd.docker.distribution.manifest.v2+json",
];
const CONFIG_TYPES = ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];
const LAYER_TYPE =
  /^application\/vnd\.(?:oci\.image\.layer\.(?:nondistributable\.)?v1\.tar(?:\+gzip|\+zstd)?|docker\.image\.rootfs\.(?:diff|foreign\.diff)\.tar(?:\.gzip|\.zstd)?)$/;
const DIGEST = /^sha256:[0-9a-f]{64}$/;

/** Checks a manifest; anything but a container image of bounded size is refused. */
export function parseManifest(bytes: Buffer, limits: ImageLimits): ImageManifest {
  const manifest = record(parseJson(bytes, "manifest"), "manifest");
  if (manifest.schemaVersion !== 2 || !MANIFEST_TYPES.includes(optionalText(manifest.mediaType, "mediaType"))) {
    refuse("its manifest is of a kind that is not supported (OCI and Docker schema 2 are)");
  }
  const config = descriptor(manifest.config, CONFIG_TYPES, "config");
  if (config.size > limits.configBytes)
    refuse(`its config has ${config.size} bytes; ${limits.configBytes} are the most`);
  if (!Array.isArray(manifest.layers)) refuse("its manifest has no list of layers");
  if (manifest.layers.length > limits.layers) {
    refuse(`it has ${manifest.layers.length} layers; ${limits.layers} are the most`);
  }
  return { config, layers: manifest.layers.map((layer) => descriptor(layer, LAYER_TYPE, "layer")) };
}

function descriptor(value: unknown, types: RegExp | string[], what: string): Descriptor {
  const { mediaType, digest, size } = record(value, what);
  const type = text(mediaType, `media type of a ${what}`);
  if (!(types instanceof RegExp ? types.test(type) : types.includes(type))) {
    refuse(`it is no container image: a ${what} is of the type ${printable(JSON.stringify(type.slice(0, 100)))}`);
  }
  if (typeof digest !== "string" || !DIGEST.test(digest)) refuse(`the digest of a ${what} is not a sha256`);
  if (typeof size !== "number" || !Number.isSafeInteger(size) || size < 0)
    refuse(`the size of a ${what} is not a number`);
  return { digest, size };
}

/** The config's digest, as it names the image. */
export function digestOf(bytes: Buffer): string {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}

/**
 * Checks an image's config: its architecture must be `architecture` (as Go names it: amd64, arm64), its system Linux.
 * @returns the part that running it needs, and the digests of the unpacked layers.
 */
export function parseConfig(bytes: Buffer, architecture: string): { config: ImageConfig; diffIds: string[] } {
  const whole = record(parseJson(bytes, "config"), "config");
  const found = text(whole.architecture, "architecture");
  const os = text(whole.os, "os");
  if (found !== architecture || os !== "linux") {
    refuse(`it is for ${printable(`${os}/${found}`.slice(0, 100))}; zones on this host run linux/${architecture}`);
  }
  const rootfs = record(whole.rootfs, "rootfs");
  const diffIds = textList(rootfs.diff_ids, "diff_ids");
  if (!diffIds.every((id) => DIGEST.test(id))) refuse("a layer's diff_id is not a sha256");
  const run = whole.config === undefined || whole.config === null ? {} : record(whole.config, "config");
  const config: ImageConfig = {
    entrypoint: textList(run.Entrypoint, "Entrypoint"),
    cmd: textList(run.Cmd, "Cmd"),
    env: textList(run.Env, "Env"),
    user: optionalText(run.User, "User") ?? "",
    workingDir: optionalText(run.WorkingDir, "WorkingDir") ?? "",
    stopSignal: optionalText(run.StopSignal, "StopSignal") ?? "",
    architecture: found,
  };
  return { config, diffIds };
}

/** This host's architecture as images name it. */
export function hostArchitecture(nodeArch: string): string {
  const names: Record<string, string> = { x64: "amd64", arm64: "arm64", riscv64: "riscv64" };
  const name = names[nodeArch];
  if (name === undefined)
    throw imageError("IMAGE_REFUSED", `no images are known for this host's architecture (${nodeArch})`);
  return name;
}

function parseJson(bytes: Buffer, what: string): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (error) {
    throw imageError("IMAGE_REFUSED", `its ${what} is not JSON`, error);
  }
}

function record(value: unknown, what: string): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    refuse(`its ${what} is missing or not an object`);
  return value as Record<string, unknown>;
}

function text(value: unknown, what: string): string {
  if (typeof value !== "string" || value.includes("\0")) refuse(`its ${what} is missing or not a string`);
  return value;
}

function optionalText(value: unknown, what: string): string | undefined {
  return value === undefined || value === null ? undefined : text(value, what);
}

/** A list of strings; null and nothing are an empty one, and one string is a list of it (Docker writes and reads all of them). */
function textList(value: unknown, what: string): string[] {
  if (value === undefined || value === null) return [];
  if (typeof value === "string") return [text(value, what)];
  if (!Array.isArray(value)) refuse(`its ${what} is not a list`);
  return value.map((item) => text(item, what));
}
