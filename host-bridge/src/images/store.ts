import { mkdir, mkdtemp, rm, stat, statfs } from "node:fs/promises";
import { join } from "node:path";
import { ZoneError } from "@zone/proto";
import type { ProgressFn } from "../domains/driver.js";
import { SharedWork } from "../shared-work.js";
import { builtinImage, writeBuiltin } from "./busybox.js";
import { Catalog } from "./catalog.js";
import { imageError, printable, within } from "./image-error.js";
import type { Images, PullOptions, StoredImage } from "./image-store.js";
import { DEFAULT_LIMITS, type ImageLimits } from "./limits.js";
import { Lock } from "./lock.js";
import { digestOf, hostArchitecture } from "./manifest.js";
import { unpackOciArchive } from "./oci-archive.js";
import type { PullContext } from "./pull-context.js";
import { type BroughtImage, readImage } from "./read-image.js";
import { type ImageReference, parseReference } from "./reference.js";
import { copyImage, fetchConfig, type SkopeoOptions, type SkopeoSource } from "./skopeo.js";
import { buildDisk } from "./unpack.js";

export interface ImageStoreOptions {
  /** A folder of the store's own, made when missing: STATE/images. */
  directory: string;
  /** The bridge's environment; proxies, certificates and the registries' log-ins are taken from it for skopeo. */
  env: NodeJS.ProcessEnv;
  limits?: ImageLimits;
  /** The static busybox of the built-in image. */
  busybox?: string;
  /** A registry that sends nothing for so long is given up. */
  stallMs?: number;
  /** Milliseconds since 1970. */
  now?: () => number;
}

/** Opens the store of workload images, and clears what an earlier bridge left unfinished. One process may have it open. */
export async function openImageStore(options: ImageStoreOptions): Promise<Images> {
  return new ImageStore(await Catalog.open(options.directory), options);
}

const DIGEST_PREFIX = /^(?:sha256:)?([0-9a-f]{4,64})$/;

class ImageStore implements Images {
  readonly #catalog: Catalog;
  readonly #directory: string;
  readonly #limits: ImageLimits;
  readonly #busybox: string;
  readonly #skopeo: SkopeoOptions;
  readonly #now: () => number;
  readonly #pulls = new SharedWork<StoredImage>();
  /** Around all changes of the catalog. */
  readonly #changes = new Lock();
  /** Unpacking takes a core, and memory for the names: one image at a time. */
  readonly #unpacking = new Lock();

  constructor(catalog: Catalog, options: ImageStoreOptions) {
    this.#catalog = catalog;
    this.#directory = options.directory;
    this.#limits = options.limits ?? DEFAULT_LIMITS;
    this.#busybox = options.busybox ?? "/bin/busybox";
    this.#now = options.now ?? Date.now;
    const { env, stallMs = 120_000 } = options;
    this.#skopeo = { env, stallMs, architecture: hostArchitecture(process.arch) };
  }

  async pull(
    asked: string,
    progress: ProgressFn,
    signal: AbortSignal,
    { policy = "missing" }: PullOptions = {},
  ): Promise<StoredImage> {
    try {
      signal.throwIfAborted();
      const byDigest = this.#byDigest(asked);
      if (asked.startsWith("sha256:")) return byDigest ?? unknownDigest();
      const reference = parseReference(asked);
      if (policy === "missing" && reference.source.kind === "registry") {
        const kept = this.#byReference(reference) ?? byDigest;
        if (kept) return kept;
      }
      return await this.#pulls.join(reference.key, progress, signal, (all, ended) =>
        this.#bring(reference, all, ended),
      );
    } catch (error) {
      throw named(asked, error, signal);
    }
  }

  async list(): Promise<StoredImage[]> {
    const images = this.#catalog.digests().flatMap((digest) => this.#catalog.get(digest) ?? []);
    return images.sort((a, b) => b.pulledAt - a.pulledAt);
  }

  async find(nameOrDigest: string): Promise<StoredImage | undefined> {
    return this.#byName(nameOrDigest) ?? this.#byDigest(nameOrDigest);
  }

  async remove(nameOrDigest: string): Promise<void> {
    await this.#changes.run(async () => {
      const byName = this.#byName(nameOrDigest);
      const image = byName ?? this.#byDigest(nameOrDigest);
      if (image === undefined) {
        throw imageError(
          "IMAGE_UNKNOWN",
          `image ${printable(nameOrDigest.slice(0, 200))} is not kept here; see the list of images`,
        );
      }
      if (byName && image.references.length > 1) await this.#catalog.forget(parseReference(nameOrDigest).key);
      else await this.#catalog.remove(image.digest);
    });
  }

  #byName(name: string): StoredImage | undefined {
    try {
      return this.#byReference(parseReference(name));
    } catch (error) {
      if (error instanceof ZoneError && error.reason === "INVALID_IMAGE") return undefined; // it may be a digest
      throw error;
    }
  }

  #byReference({ key }: ImageReference): StoredImage | undefined {
    const digest = this.#catalog.resolve(key);
    return digest === undefined ? undefined : this.#catalog.get(digest);
  }

  #byDigest(text: string): StoredImage | undefined {
    const prefix = DIGEST_PREFIX.exec(text)?.[1];
    if (prefix === undefined) return undefined;
    const [only, second] = this.#catalog.digests().filter((digest) => digest.startsWith(`sha256:${prefix}`));
    return only === undefined || second !== undefined ? undefined : this.#catalog.get(only);
  }

  /** Brings an image into a folder of its own, makes its disk there, and takes it into the catalog. */
  async #bring(reference: ImageReference, progress: ProgressFn, signal: AbortSignal): Promise<StoredImage> {
    const work = await mkdtemp(this.#catalog.temporaryPath("pull-"));
    try {
      const context = { limits: this.#limits, freeBytes: await this.#freeBytes(), progress, signal };
      const copied = await this.#copy(reference, work, context);
      if (typeof copied !== "string") return copied;
      const image = await readImage(copied, this.#limits, this.#skopeo.architecture);
      return (await this.#refer(reference, image.digest)) ?? (await this.#unpack(reference, image, work, context));
    } finally {
      await rm(work, { recursive: true, force: true });
    }
  }

  /** Brings an image into a folder in "dir:" layout; or answers with the kept one when the reference still means that. */
  async #copy(reference: ImageReference, work: string, context: PullContext): Promise<string | StoredImage> {
    if (reference.source.kind === "builtin") {
      const made = await builtinImage(this.#busybox, this.#skopeo.architecture);
      return (await this.#refer(reference, digestOf(made.config))) ?? (await writeBuiltin(made, work));
    }
    const source = await readable(reference.source, work, context);
    if (this.#byReference(reference)) {
      context.progress("pull", `asking whether ${reference.asked} has changed`);
      const config = await fetchConfig(source, work, this.#skopeo, context);
      const kept = await this.#refer(reference, digestOf(config));
      if (kept) return kept;
    }
    return copyImage(source, work, this.#skopeo, context);
  }

  /** Lets the reference mean a kept image; undefined when that is not kept. */
  #refer(reference: ImageReference, digest: string): Promise<StoredImage | undefined> {
    return this.#changes.run(async () => {
      if (this.#catalog.get(digest) === undefined) return undefined;
      await this.#catalog.refer(reference, digest, this.#now());
      return this.#catalog.get(digest);
    });
  }

  /** Makes the disk, and takes it into the catalog. */
  async #unpack(
    reference: ImageReference,
    { digest, config, layers }: BroughtImage,
    work: string,
    context: PullContext,
  ): Promise<StoredImage> {
    const folder = join(work, "made");
    await mkdir(folder);
    const uuid = Buffer.from(digest.slice("sha256:".length), "hex").subarray(0, 16);
    const sizeBytes = await this.#unpacking.run(async () => {
      const freeBytes = await this.#freeBytes();
      return buildDisk(join(folder, "disk.erofs"), layers, uuid, { ...context, freeBytes });
    }, context.signal);
    return this.#changes.run(async () => {
      context.signal.throwIfAborted();
      await this.#catalog.add(folder, { digest, config, sizeBytes }, this.#now());
      await this.#catalog.refer(reference, digest, this.#now());
      const stored = this.#catalog.get(digest);
      if (stored === undefined) throw new Error(`image ${digest} is not in the catalog that took it`);
      return stored;
    });
  }

  async #freeBytes(): Promise<number> {
    const { bavail, bsize } = await statfs(this.#directory);
    return Math.max(0, bavail * bsize - this.#limits.diskReserveBytes);
  }
}

/** A source that skopeo may read: local ones looked at, and an archive that it would unpack unpacked. */
async function readable(source: SkopeoSource, work: string, context: PullContext): Promise<SkopeoSource> {
  if (source.kind === "registry") return source;
  const { transport, path, image } = source;
  const found = await stat(path).catch((error: Error) => {
    throw imageError("IMAGE_UNKNOWN", `${error.message}; check the path`, error);
  });
  const wanted = transport === "oci" ? found.isDirectory() : found.isFile();
  if (!wanted) throw imageError("INVALID_IMAGE", `${path} is not a ${transport === "oci" ? "folder" : "file"}`);
  if (transport !== "oci-archive") return source;
  const layout = join(work, "layout");
  await unpackOciArchive(path, layout, context);
  return { kind: "local", transport: "oci", path: layout, image };
}

function unknownDigest(): never {
  throw imageError(
    "IMAGE_UNKNOWN",
    "no image with this digest is kept, and a digest alone does not say which registry has it",
  );
}

/** Whatever went wrong with an image, with its name said. */
function named(asked: string, error: unknown, signal: AbortSignal): ZoneError {
  const name = printable(asked.slice(0, 200));
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  let known = error;
  if (signal.aborted) known = imageError("CANCELLED", "cancelled", error);
  else if (code === "ENOSPC" || code === "EDQUOT")
    known = imageError("DISK_FULL", "the disk is full; free some", error);
  const { code: status, reason, domain, message, metadata } = ZoneError.from(within(`image ${name}`, known));
  return new ZoneError({
    code: status,
    reason,
    domain,
    message,
    metadata,
    cause: error,
    resource: { type: "image", name },
  });
}
