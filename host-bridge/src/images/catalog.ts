import { chmod, mkdir, mkdtemp, readdir, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { ZoneError } from "@zone/proto";
import { renameDurably, writeDurably } from "./durable.js";
import type { ImageConfig, StoredImage } from "./image-store.js";
import type { ImageReference } from "./reference.js";

const HEX_NAME = /^[0-9a-f]{64}$/;
const TEMPORARY = "tmp-";

/** What is kept of an image beside its disk, in image.json. */
interface ImageRecord {
  version: 1;
  digest: string;
  config: ImageConfig;
  sizeBytes: number;
  /** Milliseconds since 1970. */
  madeAt: number;
}

interface ReferenceRecord {
  asked: string;
  digest: string;
  /** Milliseconds since 1970. */
  pulledAt: number;
}

/**
 * The images on disk and the references to them:
 *
 *     HEX/disk.erofs, HEX/image.json   an image; the folder comes into being, and goes, by one rename
 *     references.json                  replaced by one rename
 *     tmp-*                            unfinished or on its way out; removed when the catalog is opened
 *
 * So after a crash an image is there or not, never half. One process may have it open, and one method at a time may change it.
 */
export class Catalog {
  readonly #directory: string;
  readonly #images = new Map<string, ImageRecord>();
  readonly #references = new Map<string, ReferenceRecord>();

  private constructor(directory: string) {
    this.#directory = directory;
  }

  static async open(directory: string): Promise<Catalog> {
    await mkdir(directory, { recursive: true, mode: 0o755 });
    const catalog = new Catalog(directory);
    for (const name of await readdir(directory)) {
      if (name.startsWith(TEMPORARY)) await rm(join(directory, name), { recursive: true, force: true });
      if (HEX_NAME.test(name)) await catalog.#load(name);
    }
    await catalog.#loadReferences();
    return catalog;
  }

  async #load(name: string): Promise<void> {
    const path = join(this.#directory, name, "image.json");
    const text = await readFile(path, "utf8").catch((error: unknown) => {
      throw broken(path, error);
    });
    const record = readRecord(path, text) as ImageRecord;
    if (record.digest !== `sha256:${name}`) throw broken(path);
    this.#images.set(record.digest, record);
  }

  async #loadReferences(): Promise<void> {
    const path = join(this.#directory, "references.json");
    const text = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return undefined;
      throw error;
    });
    if (text === undefined) return;
    const { references } = readRecord(path, text) as { references: Record<string, ReferenceRecord> };
    for (const [key, reference] of Object.entries(references)) {
      if (this.#images.has(reference.digest)) this.#references.set(key, reference);
    }
  }

  async #saveReferences(): Promise<void> {
    const references = Object.fromEntries([...this.#references].sort(([a], [b]) => (a < b ? -1 : 1)));
    await writeDurably(
      join(this.#directory, "references.json"),
      `${JSON.stringify({ version: 1, references }, null, 2)}\n`,
    );
  }

  /** A name in the catalog's folder that is cleaned away after a crash. */
  temporaryPath(name: string): string {
    return join(this.#directory, `${TEMPORARY}${name}`);
  }

  digests(): string[] {
    return [...this.#images.keys()];
  }

  /** The digest that a reference means. */
  resolve(key: string): string | undefined {
    return this.#references.get(key)?.digest;
  }

  get(digest: string): StoredImage | undefined {
    const record = this.#images.get(digest);
    if (record === undefined) return undefined;
    const references = [...this.#references.values()]
      .filter((reference) => reference.digest === digest)
      .sort((a, b) => b.pulledAt - a.pulledAt);
    return {
      digest,
      references: references.map(({ asked }) => asked),
      config: record.config,
      diskPath: join(this.#folder(digest), "disk.erofs"),
      sizeBytes: record.sizeBytes,
      pulledAt: references[0]?.pulledAt ?? record.madeAt,
    };
  }

  /** Takes in a folder with a finished, synced disk.erofs, unless the image is there already. */
  async add(
    folder: string,
    image: { digest: string; config: ImageConfig; sizeBytes: number },
    now: number,
  ): Promise<void> {
    if (this.#images.has(image.digest)) return;
    const record: ImageRecord = { version: 1, ...image, madeAt: now };
    await writeDurably(join(folder, "image.json"), `${JSON.stringify(record, null, 2)}\n`);
    await chmod(join(folder, "disk.erofs"), 0o444); // for the user that the hypervisor runs as
    await chmod(folder, 0o755);
    await renameDurably(folder, this.#folder(image.digest));
    this.#images.set(image.digest, record);
  }

  /** Lets a reference mean an image that is there. */
  async refer({ key, asked }: ImageReference, digest: string, now: number): Promise<void> {
    this.#references.set(key, { asked, digest, pulledAt: now });
    await this.#saveReferences();
  }

  /** Forgets one reference. */
  async forget(key: string): Promise<void> {
    this.#references.delete(key);
    await this.#saveReferences();
  }

  /** Removes an image with all references to it. */
  async remove(digest: string): Promise<void> {
    for (const [key, reference] of this.#references) if (reference.digest === digest) this.#references.delete(key);
    await this.#saveReferences();
    this.#images.delete(digest);
    const gone = await mkdtemp(this.temporaryPath("removed-"));
    await rename(this.#folder(digest), gone);
    await rm(gone, { recursive: true, force: true });
  }

  #folder(digest: string): string {
    return join(this.#directory, digest.slice("sha256:".length));
  }
}

function readRecord(path: string, text: string): unknown {
  let record: unknown;
  try {
    record = JSON.parse(text);
  } catch (error) {
    throw broken(path, error);
  }
  if (typeof record !== "object" || record === null || !("version" in record) || record.version !== 1)
    throw broken(path);
  return record;
}

function broken(path: string, cause?: unknown): ZoneError {
  return new ZoneError({
    code: "INTERNAL",
    reason: "STATE_BROKEN",
    domain: "zone.bridge",
    message: `${path} is not what this version writes; move its folder away to start without kept images`,
    cause,
  });
}
