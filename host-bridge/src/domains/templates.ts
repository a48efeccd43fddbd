import { createHash } from "node:crypto";
import { cpus, release } from "node:os";
import { errorMessage } from "../errors.js";
import { SharedWork } from "../shared-work.js";
import type { ProgressFn, WarmUp } from "./driver.js";
import type { LaunchSpec, MachineShape } from "./machine-config.js";
import { cpuModel, kernelCommandLine, PLACEHOLDERS, qemuArgs } from "./qemu-args.js";
import type { QemuDomain } from "./qemu-domain.js";
import { buildTemplate } from "./template-build.js";
import { TemplateStore } from "./template-store.js";
import type { ZoneImage } from "./zone-image.js";

/** Sealed memfds: nobody can write to them, so that no VMM can change what its siblings start from. As @zone/native makes them. */
export interface SealedFiles {
  memfd(name: string, contents: Uint8Array): number;
  memfdFromFile(name: string, path: string): number;
  closeFd(fd: number): void;
}

/** A template in the bridge's memory, in use until `release`. */
export interface Template {
  memoryFd: number;
  stateFd: number;
  release(): void;
}

export interface TemplatesOptions {
  directory: string;
  launch: (spec: LaunchSpec, signal: AbortSignal) => Promise<QemuDomain>;
  warmUp: WarmUp;
  files: SealedFiles;
  bootTimeoutMs: number;
  /** Kept in memory when not in use, at most. */
  cached: number;
}

interface Cached {
  memoryFd: number;
  stateFd: number;
  users: number;
}

/** Templates by what they are made of: in memory, else from disk, else made. */
export class Templates {
  readonly #options: TemplatesOptions;
  readonly #store: TemplateStore;
  readonly #work = new SharedWork<Cached>();
  /** In the order of their last use. */
  readonly #cache = new Map<string, Cached>();
  #prunedFor: string | undefined;

  constructor(options: TemplatesOptions) {
    this.#options = options;
    this.#store = new TemplateStore(options.directory);
  }

  /** The template for `shape`. Errors as of `buildTemplate`. */
  async get(
    image: ZoneImage,
    shape: MachineShape,
    qemuVersion: string,
    progress: ProgressFn,
    signal: AbortSignal,
  ): Promise<Template> {
    const key = templateKey(image, shape, qemuVersion);
    let found = this.#cache.get(key);
    while (!found) {
      await this.#work.join(key, progress, signal, (tell, stop) => this.#open(key, image, shape, tell, stop));
      found = this.#cache.get(key); // others may have pushed it out again
    }
    return this.#use(key, found);
  }

  /** Forgets a template that QEMU cannot load: the next `get` makes it anew. */
  async discard(image: ZoneImage, shape: MachineShape, qemuVersion: string): Promise<void> {
    const key = templateKey(image, shape, qemuVersion);
    const cached = this.#cache.get(key);
    this.#cache.delete(key);
    if (cached) this.#closeUnused(cached);
    await this.#store.remove(key);
  }

  #use(key: string, cached: Cached): Template {
    cached.users++;
    this.#cache.delete(key);
    this.#cache.set(key, cached);
    let released = false;
    const release = () => {
      if (released) return;
      released = true;
      cached.users--;
      if (this.#cache.get(key) !== cached) this.#closeUnused(cached);
    };
    return { memoryFd: cached.memoryFd, stateFd: cached.stateFd, release };
  }

  async #open(
    key: string,
    image: ZoneImage,
    shape: MachineShape,
    progress: ProgressFn,
    signal: AbortSignal,
  ): Promise<Cached> {
    if (this.#prunedFor !== image.version) {
      await this.#store.prune(image.version);
      this.#prunedFor = image.version;
    }
    const stored = (await this.#load(key, shape, progress)) ?? (await this.#build(key, image, shape, progress, signal));
    const { files } = this.#options;
    const stateFd = files.memfd("zone-template-state", stored.state);
    try {
      const cached = { memoryFd: files.memfdFromFile("zone-template-memory", stored.memoryPath), stateFd, users: 0 };
      this.#cache.set(key, cached);
      this.#evict();
      return cached;
    } catch (error) {
      files.closeFd(stateFd);
      throw error;
    }
  }

  async #load(key: string, shape: MachineShape, progress: ProgressFn) {
    try {
      return await this.#store.load(key, shape.memoryBytes);
    } catch (error) {
      progress("template", `making the template again, it is unusable: ${errorMessage(error)}`);
      return undefined;
    }
  }

  async #build(key: string, image: ZoneImage, shape: MachineShape, progress: ProgressFn, signal: AbortSignal) {
    const { launch, warmUp, bootTimeoutMs } = this.#options;
    await this.#store.add(key, image.version, async (directory) => {
      const spec = { id: `template-${key.slice(0, 16)}`, shape, image };
      const state = await buildTemplate({ spec, directory, launch, warmUp, bootTimeoutMs }, progress, signal);
      return { state, memoryBytes: shape.memoryBytes };
    });
    const stored = await this.#store.load(key, shape.memoryBytes);
    if (!stored) throw new Error(`the template ${key} was removed while it was made`);
    return stored;
  }

  /** Closes the least recently used ones beyond the limit; those in use are closed by their last user. */
  #evict(): void {
    for (const [key, cached] of this.#cache) {
      if (this.#cache.size <= this.#options.cached) return;
      this.#cache.delete(key);
      this.#closeUnused(cached);
    }
  }

  #closeUnused(cached: Cached): void {
    if (cached.users > 0) return;
    this.#options.files.closeFd(cached.memoryFd);
    this.#options.files.closeFd(cached.stateFd);
  }
}

/** Names everything that a saved machine depends on: two that differ in any of it must not share a template. */
export function templateKey(image: ZoneImage, shape: MachineShape, qemuVersion: string): string {
  const args = qemuArgs({
    name: "template",
    ...shape,
    memory: { kind: "template", fd: 3 },
    disks: ["zone-root", ...Array.from({ length: PLACEHOLDERS }, (_, i) => `w${i}`)].map((serial) => ({
      serial,
      fd: undefined,
      readOnly: true,
    })),
    laterDisks: [],
    networkFd: undefined,
    shareSockets: [],
    boot: {
      kind: "kernel",
      kernelFd: 4,
      initramfsFd: 5,
      commandLine: kernelCommandLine({ accelerator: shape.accelerator, image, template: true }),
    },
  });
  // "host" and "max" are what the processor, its microcode and the host's kernel make of them.
  const host = [cpuModel(shape.accelerator), cpus()[0]?.model, release()];
  const parts = [image.digest, qemuVersion, host, shape, args];
  return createHash("sha256").update(JSON.stringify(parts)).digest("hex").slice(0, 32);
}
