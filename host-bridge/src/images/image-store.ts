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
  /** As asked for, most recent first. */
  references: string[];
  config: ImageConfig;
  /** The read-only disk: an erofs, never mounted by the host. */
  diskPath: string;
  sizeBytes: number;
  /** Milliseconds since 1970. */
  pulledAt: number;
}

export interface PullOptions {
  /**
   * "missing" (the default): an image that is kept under this reference is used without asking its registry, as `docker run`
   * does. "always": the registry is asked whether the reference means another image now, as `docker pull` does.
   * Sources on this host (archives, layouts, the built-in) are always asked.
   */
  policy?: "missing" | "always";
}

/** Where workload images are kept. */
export interface Images {
  /**
   * Brings `reference` unless it is kept already, and answers with it. Phases of `progress`: "pull" (done: bytes) and
   * "unpack" (done: bytes). Concurrent pulls of one reference share the work; it stops when all callers cancelled.
   * Errors: INVALID_IMAGE, IMAGE_UNKNOWN, IMAGE_REFUSED, REGISTRY_UNREACHABLE, REGISTRY_DENIED, DISK_FULL, CANCELLED.
   */
  pull(reference: string, progress: ProgressFn, signal: AbortSignal, options?: PullOptions): Promise<StoredImage>;
  list(): Promise<StoredImage[]>;
  /** By reference, digest or unique digest prefix (with or without "sha256:"); undefined when there is none. */
  find(nameOrDigest: string): Promise<StoredImage | undefined>;
  /** Removes a reference; with the last one (or a digest), the disk. Whether a zone uses it is the caller's to know. */
  remove(nameOrDigest: string): Promise<void>;
}
