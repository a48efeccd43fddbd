import { IMAGE_FILES, type ImageFile, type Manifest } from "./manifest.js";

/** The most that an image may take, compressed. */
export const BUDGET_BYTES = 60 * 1024 * 1024;

/** The sizes of an image's files, stored and compressed, a line each, against the budget. */
export function sizeTable(manifest: Manifest): string {
  const { contents, contentSizes, totalSize, totalCompressedSize } = manifest;
  const notes: Record<ImageFile, string> = {
    vmlinuz: `${manifest.kernelRelease}, ${manifest.kernel.format}`,
    "initramfs.cpio": `${contents.initramfs.length} files`,
    "root.erofs": `${contents.root.length} files of ${mebibytes(contentSizes.root)}`,
  };
  const rows = IMAGE_FILES.map((name) => {
    const { size, compressedSize } = manifest.files[name];
    return row(name, mebibytes(size), mebibytes(compressedSize), notes[name]);
  });
  const verdict = totalCompressedSize <= BUDGET_BYTES ? "within" : "OVER";
  const budget = `${verdict} the budget of ${mebibytes(BUDGET_BYTES)} compressed`;
  rows.push(row("total", mebibytes(totalSize), mebibytes(totalCompressedSize), budget));
  return [row("", "stored", "compressed", ""), ...rows].join("\n");
}

function row(name: string, stored: string, compressed: string, note: string): string {
  return `  ${name.padEnd(16)}${stored.padStart(10)}${compressed.padStart(12)}   ${note}`.trimEnd();
}

function mebibytes(bytes: number): string {
  return `${(bytes / 1024 / 1024).toFixed(1)} MiB`;
}
