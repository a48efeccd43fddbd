import { open } from "node:fs/promises";
import { join } from "node:path";
import { refuse } from "./image-error.js";
import type { ImageConfig } from "./image-store.js";
import type { LayerBlob } from "./layer-stream.js";
import type { ImageLimits } from "./limits.js";
import { digestOf, parseConfig, parseManifest } from "./manifest.js";

/** An image that was brought, checked as far as that goes without unpacking it. */
export interface BroughtImage {
  /** Of the config, which names the unpacked layers by their digests: two images with one digest have the same content. */
  digest: string;
  config: ImageConfig;
  layers: LayerBlob[];
}

/** Reads manifest and config of an image in "dir:" layout. Throws IMAGE_REFUSED. */
export async function readImage(folder: string, limits: ImageLimits, architecture: string): Promise<BroughtImage> {
  const blob = (digest: string) => join(folder, digest.slice("sha256:".length));
  const manifest = parseManifest(await readBounded(join(folder, "manifest.json"), limits.manifestBytes), limits);
  const configBytes = await readBounded(blob(manifest.config.digest), limits.configBytes);
  const digest = digestOf(configBytes);
  if (digest !== manifest.config.digest) {
    refuse(`its config is ${digest}; the manifest promises ${manifest.config.digest}`);
  }
  const { config, diffIds } = parseConfig(configBytes, architecture);
  if (diffIds.length !== manifest.layers.length) {
    refuse(`its manifest has ${manifest.layers.length} layers, its config ${diffIds.length}`);
  }
  const layers = manifest.layers.map((layer, index) => ({ path: blob(layer.digest), diffId: diffIds[index] }));
  return { digest, config, layers };
}

async function readBounded(path: string, most: number): Promise<Buffer> {
  const file = await open(path);
  try {
    const { size } = await file.stat();
    if (size > most) refuse(`its manifest or config has ${size} bytes; ${most} are the most`);
    return await file.readFile();
  } finally {
    await file.close();
  }
}
