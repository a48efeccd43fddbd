import type { ProgressFn } from "../domains/driver.js";

/** The part of an image's config that running it needs; as in the OCI image spec. */
export interface ImageConfig {
  entrypoint: string[];
  cmd: string[];
  env: string[];
  user: string;
  workingDir: string;
  stopSignal: string;
  architecture: string;
}

/** An image that is ready to be attached to a zone. */
export interface StoredImage {
  /** "sha256:" and the digest of the image's config. */
  digest: string;
  references: string[];
  config: ImageConfig;
  /** The read-only disk: an erofs, root-owned, never mounted by the host. */
  diskPath: string;
  sizeBytes: number;
  /** Milliseconds since 1970. */
  pulledAt: number;
}

/** Where workload images are kept. */
export interface Images {
  /** Brings `reference` unless it is kept already (a tag is asked again), and answers with it. */
  pull(reference: string, progress: ProgressFn, signal: AbortSignal): Promise<StoredImage>;
  list(): Promise<StoredImage[]>;
  /** By reference, digest or unique digest prefix; undefined when there is none. */
  find(nameOrDigest: string): Promise<StoredImage | undefined>;
  /** Removes a reference; with the last one (or a digest), the disk. */
  remove(nameOrDigest: string): Promise<void>;
}
