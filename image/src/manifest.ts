import type { BootOption } from "./command-line.js";
import { sha256 } from "./files.js";
import type { Flavour } from "./kernel.js";
import { complete, type Entry, formatOrigin } from "./tree.js";

/** The files of an image besides manifest.json. */
export const IMAGE_FILES = ["vmlinuz", "initramfs.cpio", "root.erofs"] as const;
export type ImageFile = (typeof IMAGE_FILES)[number];

/** Versions of the link's protocol that the agent in the image speaks; link/src has the same numbers. */
export const PROTOCOL = { min: 1, max: 1 } as const;

/** What manifest.json holds. The bridge reads version, kernelRelease, cmdline and files. */
export interface Manifest {
  version: string;
  protocol: { min: number; max: number };
  kernel: {
    flavour: Flavour;
    /** "bzImage" is what Debian ships; "elf" is an uncompressed vmlinux with the PVH entry point. */
    format: "bzImage" | "elf";
    origin: string;
  };
  kernelRelease: string;
  /** The command line that the bridge starts from, and why each option is in it. */
  cmdline: string;
  cmdlineReasons: readonly BootOption[];
  /** In bytes; `compressedSize` is the size with gzip for what is not compressed by itself. */
  files: Record<ImageFile, { size: number; compressedSize: number; sha256: string }>;
  /** Sums over `files`: what a host stores, and what is transferred to it. */
  totalSize: number;
  totalCompressedSize: number;
  contents: { initramfs: FileRecord[]; root: FileRecord[] };
  /** Sum of the sizes in `contents`, which are not compressed. */
  contentSizes: { initramfs: number; root: number };
  /** Packages of the host whose programs made the image, with their versions. */
  tools: Record<string, string>;
}

/** One file in the initramfs or the root file system. */
export interface FileRecord {
  path: string;
  size: number;
  sha256: string;
  /** "PACKAGE VERSION", "zone-agent", or "host PATH". */
  origin: string;
  why: string;
}

/** The files among the entries, sorted by path. */
export function recordsOf(entries: readonly Entry[]): FileRecord[] {
  const records: FileRecord[] = [];
  for (const entry of complete(entries))
    if (entry.kind === "file") {
      const { path, content, origin, why } = entry;
      records.push({
        path: `/${path}`,
        size: content.length,
        sha256: sha256(content),
        origin: formatOrigin(origin),
        why,
      });
    }
  return records;
}
