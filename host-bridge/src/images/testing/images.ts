import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { hostArchitecture } from "../manifest.js";

export interface MadeImage {
  /** Changes to the config and to the manifest, at their top level. */
  config?: Record<string, unknown>;
  manifest?: Record<string, unknown>;
  /** How a layer is stored. */
  compress?: (layer: Buffer) => Buffer;
  tag?: string;
}

/** Writes an OCI layout with one image by hand, so that anything can be wrong with it; answers with the config's digest. */
export function writeLayout(directory: string, layers: Buffer[], made: MadeImage = {}): string {
  const { compress = (layer) => layer, tag = "latest" } = made;
  mkdirSync(join(directory, "blobs/sha256"), { recursive: true });
  const put = (bytes: Buffer, mediaType: string) => {
    const hex = createHash("sha256").update(bytes).digest("hex");
    writeFileSync(join(directory, "blobs/sha256", hex), bytes);
    return { mediaType, digest: `sha256:${hex}`, size: bytes.length };
  };
  const config = put(
    Buffer.from(
      JSON.stringify({
        architecture: hostArchitecture(process.arch),
        os: "linux",
        config: { Cmd: ["/bin/true"] },
        rootfs: {
          type: "layers",
          diff_ids: layers.map((layer) => `sha256:${createHash("sha256").update(layer).digest("hex")}`),
        },
        ...made.config,
      }),
    ),
    "application/vnd.oci.image.config.v1+json",
  );
  const manifest = put(
    Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        config,
        layers: layers.map((layer) => put(compress(layer), "application/vnd.oci.image.layer.v1.tar")),
        ...made.manifest,
      }),
    ),
    "application/vnd.oci.image.manifest.v1+json",
  );
  const named = { ...manifest, annotations: { "org.opencontainers.image.ref.name": tag } };
  writeFileSync(join(directory, "index.json"), JSON.stringify({ schemaVersion: 2, manifests: [named] }));
  writeFileSync(join(directory, "oci-layout"), '{"imageLayoutVersion":"1.0.0"}');
  return config.digest;
}

/** Copies an image with skopeo: how tests push to a registry and make archives. */
export function skopeoCopy(from: string, to: string): void {
  execFileSync("skopeo", ["--insecure-policy", "copy", "--dest-tls-verify=false", "--src-tls-verify=false", from, to], {
    stdio: "pipe",
  });
}
