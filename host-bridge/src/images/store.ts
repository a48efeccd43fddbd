import { mkdir, mkdtemp, open, rm, stat, statfs } from "node:fs/promises";
import { join } from "node:path";
import { ZoneError } from "@zone/proto";
import type { ProgressFn } from "../domains/driver.js";
import { builtinImage, writeBuiltin } from "./busybox.js";
import { Catalog } from "./catalog.js";
import { imageError, printable, refuse, within } from "./image-error.js";
import type { Images, PullOptions, StoredImage } from "./image-store.js";
import { DEFAULT_LIMITS, type ImageLimits } from "./limits.js";
import { Lock } from "./lock.js";
import { digestOf, hostArchitecture, parseConfig, parseManifest } from "./manifest.js";
import { unpackOciArchive } from "./oci-archive.js";
import { type ImageReference, parseReference } from "./reference.js";
import { SharedWork } from "./shared-work.js";
import { copyImage, fetchConfig, type SkopeoOptions, type SkopeoSource } from "./skopeo.js";
import { buildDisk, type UnpackOptions } from "./unpack.js";

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
      const named = this.#byName(nameOrDigest);
      const image = named ?? this.#byDigest(nameOrDigest);
      if (image === undefined) {
        throw imageError(
          "IMAGE_UNKNOWN",
          `image ${printable(nameOrDigest.slice(0, 200))} is not kept here; see the list of images`,
        );
      }
      if (named && image.references.length > 1) await this.#catalog.forget(parseReference(nameOrDigest).key);
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
      if (reference.source.kind === "builtin") {
        const made = await builtinImage(this.#busybox, this.#skopeo.architecture);
        const kept = await this.#refer(reference, digestOf(made.config));
        return kept ?? (await this.#unpack(reference, await writeBuiltin(made, work), work, progress, signal));
      }
      const options = { limits: this.#limits, freeBytes: await this.#freeBytes(), progress, signal };
      const source = await readable(reference.source, work, options);
      if (this.#byReference(reference)) {
        progress("pull", `asking whether ${reference.asked} has changed`);
        const kept = await this.#refer(reference, digestOf(await fetchConfig(source, work, this.#skopeo, signal)));
        if (kept) return kept;
      }
      const image = await copyImage(source, work, this.#skopeo, options);
      return await this.#unpack(reference, image, work, progress, signal);
    } finally {
      await rm(work, { recursive: true, force: true });
    }
  }

  /** Lets the reference mean a kept image; undefined when that is not kept. */
  #refer(reference: ImageReference, digest: string): Promise<StoredImage | undefined> {
    return this.#changes.run(async () => {
      if (this.#catalog.get(digest) === undefined) return undefined;
      await this.#catalog.refer(reference, digest, this.#now());
      return this.#catalog.get(digest);
    });
  }

  /** From a folder in "dir:" layout to an image in the catalog. */
  async #unpack(
    reference: ImageReference,
    image: string,
    work: string,
    progress: ProgressFn,
    signal: AbortSignal,
  ): Promise<StoredImage> {
    const manifest = parseManifest(
      await readBounded(join(image, "manifest.json"), this.#limits.manifestBytes),
      this.#limits,
    );
    const configBytes = await readBounded(blobPath(image, manifest.config.digest), this.#limits.configBytes);
    const digest = digestOf(configBytes);
    if (digest !== manifest.config.digest)
      refuse(`its config is ${digest}; the manifest promises ${manifest.config.digest}`);
    const { config, diffIds } = parseConfig(configBytes, this.#skopeo.architecture);
    if (diffIds.length !== manifest.layers.length) {
      refuse(`its manifest has ${manifest.layers.length} layers, its config ${diffIds.length}`);
    }
    const kept = await this.#refer(reference, digest);
    if (kept) return kept;

    const layers = manifest.layers.map((layer, index) => ({
      path: blobPath(image, layer.digest),
      diffId: diffIds[index],
    }));
    const folder = join(work, "made");
    await mkdir(folder);
    const uuid = Buffer.from(digest.slice("sha256:".length), "hex").subarray(0, 16);
    const sizeBytes = await this.#unpacking.run(async () => {
      const freeBytes = await this.#freeBytes();
      return buildDisk(join(folder, "disk.erofs"), layers, uuid, { limits: this.#limits, freeBytes, progress, signal });
    }, signal);
    return this.#changes.run(async () => {
      signal.throwIfAborted();
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
async function readable(source: SkopeoSource, work: string, options: UnpackOptions): Promise<SkopeoSource> {
  if (source.kind === "registry") return source;
  const { transport, path, image } = source;
  const found = await stat(path).catch((error: Error) => {
    throw imageError("IMAGE_UNKNOWN", `${error.message}; check the path`, error);
  });
  const wanted = transport === "oci" ? found.isDirectory() : found.isFile();
  if (!wanted) throw imageError("INVALID_IMAGE", `${path} is not a ${transport === "oci" ? "folder" : "file"}`);
  if (transport !== "oci-archive") return source;
  const layout = join(work, "layout");
  await unpackOciArchive(path, layout, options);
  return { kind: "local", transport: "oci", path: layout, image };
}

function blobPath(image: string, digest: string): string {
  return join(image, digest.slice("sha256:".length));
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
    known = imageError("DISK_FULL", "the disk is full; free some space", error);
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
