import { IMAGE_FILES, type Manifest } from "./manifest.js";

/** The most that the files of an image may take together. */
export const BUDGET_BYTES = 60 * 1024 * 1024;

/** The sizes of an image's files, a line each, against the budget. */
export function sizeTable(manifest: Manifest): string {
  const { contents, contentSizes } = manifest;
  const notes: Record<(typeof IMAGE_FILES)[number], string> = {
    vmlinuz: `${manifest.kernelRelease}, ${manifest.kernel.format}`,
    "initramfs.cpio": `${contents.initramfs.length} files, not compressed`,
    "root.erofs": `${contents.root.length} files of ${mebibytes(contentSizes.root)}`,
  };
  const rows = IMAGE_FILES.map((name) => row(name, manifest.files[name].size, notes[name]));
  const verdict = manifest.totalSize <= BUDGET_BYTES ? "within" : "OVER";
  rows.push(row("total", manifest.totalSize, `${verdict} the budget of ${mebibytes(BUDGET_BYTES)}`));
  return rows.join("\n");
}

function row(name: string, size: number, note: string): string {
  return `  ${name.padEnd(16)}${mebibytes(size).padStart(10)}   ${note}`;
}

function mebibytes(bytes: number): string {
  return `${(bytes / 1024 / 1024).toFixed(1)} MiB`;
}
