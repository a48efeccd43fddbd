import { statSync } from "node:fs";
import { chmod, mkdir, mkdtemp, readdir, readFile, rename, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { BOOT_OPTIONS, COMMAND_LINE } from "./command-line.js";
import { cpio } from "./cpio.js";
import { makeErofs } from "./erofs.js";
import { BuildError } from "./errors.js";
import { exists, sha256 } from "./files.js";
import { collect, type Inputs } from "./inputs.js";
import type { Kernel, Progress } from "./kernel.js";
import { IMAGE_FILES, type ImageFile, type Manifest, PROTOCOL, recordsOf } from "./manifest.js";
import { rootEntries } from "./root-tree.js";
import type { Sources } from "./sources.js";
import { type Entry, file, formatOrigin } from "./tree.js";

/** Folders of builds that have not come to their end. */
const UNFINISHED = ".building-";
/** A build takes seconds: one that is older was interrupted. */
const ABANDONED_AFTER_MS = 3_600_000;
export interface Built {
  /** The image's folder. */
  path: string;
  manifest: Manifest;
  /** False when it was there already. */
  fresh: boolean;
}

/**
 * Builds the image of these sources into OUT/VERSION and points the link OUT/current at it. VERSION is a hash of all that
 * goes in, so nothing is to be done when the folder exists: it appears by a rename, complete or not at all. Throws a
 * BuildError that names what is missing.
 */
export async function buildImage(sources: Sources, kernel: Kernel, out: string, progress: Progress): Promise<Built> {
  const inputs = await collect(sources, kernel);
  const path = join(out, inputs.version);
  await mkdir(out, { recursive: true });
  const fresh = !(await exists(path));
  if (fresh) {
    await removeAbandoned(out);
    const building = await mkdtemp(join(out, UNFINISHED));
    try {
      await buildInto(building, inputs, progress);
      const after = await collect(sources, kernel);
      if (after.version !== inputs.version)
        throw new BuildError("what the image is built from has just changed: build it again");
      await renameUnlessThere(building, path);
    } finally {
      await rm(building, { recursive: true, force: true });
    }
  }
  await pointAt(join(out, "current"), inputs.version);
  return { path, manifest: JSON.parse(await readFile(join(path, "manifest.json"), "utf8")), fresh };
}

async function buildInto(folder: string, inputs: Inputs, progress: Progress): Promise<void> {
  const { version, sources, kernel, modules } = inputs;
  progress("collecting node, crun and their libraries");
  const root = [...(await rootEntries(sources, inputs.libraries)), ...modules.root];
  const initramfs = initramfsEntries(await readFile(sources.init), modules.initramfs);
  progress("compressing the root file system");
  const staging = join(folder, "root");
  await makeErofs(root, staging, join(folder, "root.erofs"));
  await rm(staging, { recursive: true });
  await writeFile(join(folder, "initramfs.cpio"), cpio(initramfs));
  const kernelBytes = await readFile(kernel.image);
  await writeFile(join(folder, "vmlinuz"), kernelBytes);

  const files = await describe(folder);
  const contents = { initramfs: recordsOf(initramfs), root: recordsOf(root) };
  const manifest: Manifest = {
    version,
    protocol: PROTOCOL,
    kernelRelease: kernel.release,
    kernel: { flavour: kernel.flavour, format: formatOf(kernelBytes), origin: formatOrigin(kernel.origin) },
    cmdline: COMMAND_LINE,
    cmdlineReasons: BOOT_OPTIONS,
    files,
    totalSize: sum(Object.values(files)),
    totalCompressedSize: Object.values(files).reduce((total, { compressedSize }) => total + compressedSize, 0),
    contents,
    contentSizes: { initramfs: sum(contents.initramfs), root: sum(contents.root) },
    tools: inputs.tools,
  };
  await writeFile(join(folder, "manifest.json"), `${JSON.stringify(manifest, undefined, 2)}\n`);
  // Readable by every hypervisor's user, whatever the umask.
  for (const name of [...IMAGE_FILES, "manifest.json"]) await chmod(join(folder, name), 0o644);
  await chmod(folder, 0o755);
}

/** What the kernel unpacks as its first root: PID 1, the modules that it loads, and the console that the kernel opens for it. */
function initramfsEntries(init: Uint8Array, modules: readonly Entry[]): Entry[] {
  return [
    file("init", init, { kind: "zone-agent" }, "PID 1", 0o755),
    { kind: "character-device", path: "dev/console", mode: 0o600, major: 5, minor: 1 },
    ...modules,
  ];
}

async function describe(folder: string): Promise<Manifest["files"]> {
  const described: [ImageFile, Manifest["files"][ImageFile]][] = [];
  for (const name of IMAGE_FILES) {
    const bytes = await readFile(join(folder, name));
    // A bzImage and an erofs are compressed already; gzip would find a percent or two, and take seconds.
    const plain = name === "initramfs.cpio" || (name === "vmlinuz" && formatOf(bytes) === "elf");
    const compressedSize = plain ? gzipSync(bytes).length : bytes.length;
    described.push([name, { size: bytes.length, compressedSize, sha256: sha256(bytes) }]);
  }
  return Object.fromEntries(described) as Manifest["files"];
}

/** By the magic numbers: man 5 elf, and Documentation/arch/x86/boot.rst. */
function formatOf(kernel: Buffer): Manifest["kernel"]["format"] {
  if (kernel.subarray(0, 4).equals(Buffer.from("\x7fELF"))) return "elf";
  if (kernel.subarray(0x202, 0x206).equals(Buffer.from("HdrS"))) return "bzImage";
  throw new BuildError("the kernel is neither an ELF vmlinux nor a bzImage");
}

/** When another build was faster its result stands: equal versions have equal contents. */
async function renameUnlessThere(from: string, to: string): Promise<void> {
  await rename(from, to).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "ENOTEMPTY" && error.code !== "EEXIST") throw error;
  });
}

/** Points the symbolic link at `target` in one step, so that it always leads somewhere. */
async function pointAt(link: string, target: string): Promise<void> {
  const next = `${link}.${process.pid}`;
  await rm(next, { force: true });
  await symlink(target, next);
  await rename(next, link);
}

/** Removes what interrupted builds left, but nothing that may still be growing. */
async function removeAbandoned(out: string): Promise<void> {
  for (const name of await readdir(out)) {
    if (!name.startsWith(UNFINISHED)) continue;
    const path = join(out, name);
    const found = statSync(path, { throwIfNoEntry: false });
    if (found !== undefined && Date.now() - found.mtimeMs > ABANDONED_AFTER_MS)
      await rm(path, { recursive: true, force: true });
  }
}

function sum(records: readonly { size: number }[]): number {
  return records.reduce((total, { size }) => total + size, 0);
}
