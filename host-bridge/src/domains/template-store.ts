import { createHash } from "node:crypto";
import { mkdir, mkdtemp, open, readdir, readFile, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { errorMessage } from "../errors.js";

/** Device state is half a megabyte; more is not a template of ours. */
const MAX_STATE_BYTES = 64 << 20;
const NEW_PREFIX = ".new-";

/** What is kept of a template, in manifest.json. */
export interface TemplateManifest {
  version: 1;
  imageVersion: string;
  memoryBytes: number;
  stateSha256: string;
}

/** A template on disk that was found whole. */
export interface StoredTemplate {
  memoryPath: string;
  memoryBytes: number;
  state: Buffer;
}

/** Templates on disk: DIRECTORY/KEY/{memory,state,manifest.json}, each made aside and renamed into place. */
export class TemplateStore {
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** Removes what an interrupted build left, and the templates of other image versions. */
  async prune(imageVersion: string): Promise<void> {
    await mkdir(this.#directory, { recursive: true, mode: 0o700 });
    for (const name of await readdir(this.#directory)) {
      const path = join(this.#directory, name);
      const keep = !name.startsWith(NEW_PREFIX) && (await manifestOf(path))?.imageVersion === imageVersion;
      if (!keep) await rm(path, { recursive: true, force: true });
    }
  }

  /** The template, checked; undefined when there is none; throws why when it cannot be used. */
  async load(key: string, memoryBytes: number): Promise<StoredTemplate | undefined> {
    const path = join(this.#directory, key);
    if (!(await exists(path))) return undefined;
    const manifest = await manifestOf(path);
    if (!manifest) throw new Error("its manifest is missing or not valid");
    const memoryPath = join(path, "memory");
    const { size } = await stat(memoryPath);
    if (size !== memoryBytes || manifest.memoryBytes !== memoryBytes)
      throw new Error(`its memory has ${size} bytes, not ${memoryBytes}`);
    const state = await readFile(join(path, "state"));
    if (sha256(state) !== manifest.stateSha256) throw new Error("its state has another SHA-256 than its manifest says");
    return { memoryPath, memoryBytes, state };
  }

  async remove(key: string): Promise<void> {
    await rm(join(this.#directory, key), { recursive: true, force: true });
  }

  /** Where free space matters. */
  get directory(): string {
    return this.#directory;
  }

  /**
   * Makes a template: `write` fills the file "memory" in the folder that it is given and answers with the state. Whole or not at
   * all: files are on disk before the folder gets its name.
   */
  async add(
    key: string,
    imageVersion: string,
    write: (directory: string) => Promise<{ state: Buffer; memoryBytes: number }>,
  ): Promise<void> {
    await mkdir(this.#directory, { recursive: true, mode: 0o700 });
    const aside = await mkdtemp(join(this.#directory, NEW_PREFIX));
    try {
      const { state, memoryBytes } = await write(aside);
      if (state.length > MAX_STATE_BYTES) throw new Error(`the state has ${state.length} bytes`);
      const manifest: TemplateManifest = { version: 1, imageVersion, memoryBytes, stateSha256: sha256(state) };
      await writeSynced(join(aside, "state"), state);
      await writeSynced(join(aside, "manifest.json"), `${JSON.stringify(manifest)}\n`);
      await this.remove(key);
      await rename(aside, join(this.#directory, key));
      await syncDirectory(this.#directory);
    } catch (error) {
      await rm(aside, { recursive: true, force: true });
      throw error;
    }
  }
}

async function manifestOf(path: string): Promise<TemplateManifest | undefined> {
  try {
    const value = JSON.parse(await readFile(join(path, "manifest.json"), "utf8")) as Partial<TemplateManifest> | null;
    const valid =
      value?.version === 1 &&
      typeof value.imageVersion === "string" &&
      typeof value.memoryBytes === "number" &&
      typeof value.stateSha256 === "string";
    return valid ? (value as TemplateManifest) : undefined;
  } catch {
    return undefined; // missing, unreadable or no JSON: all the same to who would use it
  }
}

async function writeSynced(path: string, data: Buffer | string): Promise<void> {
  const file = await open(path, "wx", 0o600);
  try {
    await file.writeFile(data);
    await file.sync();
  } finally {
    await file.close();
  }
}

async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, "r");
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return false;
    throw new Error(errorMessage(error), { cause: error });
  }
}

function sha256(bytes: Buffer): string {
  return createHash("sha256").update(bytes).digest("hex");
}
