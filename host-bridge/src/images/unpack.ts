import { open, stat } from "node:fs/promises";
import { ByteSource, TarReader } from "@zone/tar";
import { BLOCK, BlockWriter } from "./block-writer.js";
import { finishErofs } from "./erofs.js";
import { imageError, refuse, within } from "./image-error.js";
import { applyLayer, type Unpacking } from "./layer.js";
import { type LayerBlob, layerBytes } from "./layer-stream.js";
import { tarLimits } from "./limits.js";
import type { PullContext } from "./pull-context.js";
import { ImageTree } from "./tree.js";

/**
 * Makes the disk of an image at `path` (which must not exist): layers applied in order, as one read-only erofs.
 * Contents stream straight from the layers to their blocks; names live in memory. Same layers and uuid, same bytes.
 * @returns the disk's size in bytes. On failure the file may be left, unfinished.
 */
export async function buildDisk(
  path: string,
  layers: LayerBlob[],
  uuid: Buffer,
  context: PullContext,
): Promise<number> {
  const { limits, progress, signal } = context;
  const disk = await open(path, "wx+", 0o444);
  try {
    const data = new BlockWriter(disk);
    await data.zerosTo(BLOCK); // the superblock's
    const unpacking: Unpacking = { tree: new ImageTree(limits), data, limits, entries: 0, metadataBytes: 0 };
    const spend = spending(context);
    for (const [index, blob] of layers.entries()) {
      const place = `layer ${index + 1} of ${layers.length}`;
      progress("unpack", place);
      await unpackLayer(unpacking, blob, index, (bytes, size, chunk) => spend(place, bytes, size, chunk), signal).catch(
        (error: unknown) => {
          throw within(place, error);
        },
      );
    }
    progress("unpack", "writing the disk");
    const size = await finishErofs(disk, data, unpacking.tree.root, uuid);
    await disk.datasync();
    return size;
  } finally {
    await disk.close();
  }
}

type Spend = (layerBytes: number, blobBytes: number, chunkBytes: number) => void;

async function unpackLayer(
  unpacking: Unpacking,
  blob: LayerBlob,
  layer: number,
  spend: Spend,
  signal: AbortSignal,
): Promise<void> {
  const { size } = await stat(blob.path).catch((error: unknown) => {
    throw imageError("IMAGE_REFUSED", "its source does not have the content of this layer", error);
  });
  let unpacked = 0;
  const source = new ByteSource(
    layerBytes(blob, (bytes) => {
      signal.throwIfAborted();
      unpacked += bytes;
      spend(unpacked, size, bytes);
    }),
  );
  try {
    await applyLayer(unpacking, new TarReader(source, tarLimits(unpacking.limits)), layer, signal);
  } finally {
    await source.close();
  }
}

const PROGRESS_BYTES = 16 * 1024 * 1024;

/** Guards against bombs: bytes in all, bytes that the disk has, and the ratio of a large layer. Tells how far it is, too. */
function spending({ limits, freeBytes, progress }: PullContext): (place: string, ...counts: Parameters<Spend>) => void {
  let total = 0;
  let told = 0;
  return (place, layerBytes, blobBytes, chunkBytes) => {
    total += chunkBytes;
    if (total > limits.unpackedBytes) refuse(`the image unpacks to more than ${limits.unpackedBytes} bytes`);
    if (total > freeBytes) {
      throw imageError("DISK_FULL", `the image unpacks to more than the ${freeBytes} bytes that are free`);
    }
    if (layerBytes > limits.ratioFromBytes && layerBytes > blobBytes * limits.ratio) {
      refuse(`it unpacks to more than ${limits.ratio} times its size (${blobBytes} bytes)`);
    }
    if (total - told >= PROGRESS_BYTES) {
      told = total;
      progress("unpack", place, total);
    }
  };
}
