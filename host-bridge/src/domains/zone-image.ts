import { createHash } from "node:crypto";
import { readFile, realpath } from "node:fs/promises";
import { join } from "node:path";
import { bridgeError } from "../errors.js";

const KERNEL = "vmlinuz";
const INITRAMFS = "initramfs.cpio";
const ROOT = "root.erofs";

/** A zone image as `npm run image` makes it: what every zone boots. */
export interface ZoneImage {
  directory: string;
  version: string;
  kernelRelease: string;
  /** The kernel's command line, without what is a zone's own. */
  commandLine: string;
  /** SHA-256 of the manifest, which holds that of every file. */
  digest: string;
  kernel: string;
  initramfs: string;
  root: string;
}

/** Reads an image's manifest; a symlink is followed once, so that all files are of one image. FAILED_PRECONDITION/NO_ZONE_IMAGE. */
export async function openZoneImage(path: string): Promise<ZoneImage> {
  try {
    const directory = await realpath(path);
    const bytes = await readFile(join(directory, "manifest.json"));
    const manifest: unknown = JSON.parse(bytes.toString("utf8"));
    const { version, kernelRelease, cmdline, files } = manifest as Record<string, unknown>;
    if (typeof version !== "string" || !/^[\w.+-]{1,100}$/.test(version))
      throw new Error("manifest.json: no valid version");
    if (typeof cmdline !== "string" || !/^[ -~]{0,1000}$/.test(cmdline))
      throw new Error("manifest.json: no valid cmdline");
    const names = Object.keys((files as object | null) ?? {});
    for (const name of [KERNEL, INITRAMFS, ROOT]) {
      if (!names.includes(name)) throw new Error(`manifest.json: no file ${name}`);
    }
    return {
      directory,
      version,
      commandLine: cmdline,
      kernelRelease: typeof kernelRelease === "string" ? kernelRelease : "unknown",
      digest: createHash("sha256").update(bytes).digest("hex"),
      kernel: join(directory, KERNEL),
      initramfs: join(directory, INITRAMFS),
      root: join(directory, ROOT),
    };
  } catch (error) {
    throw bridgeError(
      "FAILED_PRECONDITION",
      "NO_ZONE_IMAGE",
      `no usable zone image at ${path}: ${(error as Error).message}; make one with npm run image`,
      { type: "zone-image", name: path },
      error,
    );
  }
}
