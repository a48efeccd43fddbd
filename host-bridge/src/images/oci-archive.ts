import { mkdir, open } from "node:fs/promises";
import { dirname, join } from "node:path";
import { ByteSource, type TarEntry, TarReader } from "@zone/tar";
import { asRefusal, imageError, refuse, shown, within } from "./image-error.js";
import { layerBytes } from "./layer-stream.js";
import { tarLimits } from "./limits.js";
import type { PullContext } from "./pull-context.js";

/** All that an OCI layout consists of (image-spec's image-layout.md). */
const MEMBER = /^(?:\.\/)?(oci-layout|index\.json|blobs\/(?:sha256\/[0-9a-f]{64}|sha512\/[0-9a-f]{128}))$/;

/**
 * Unpacks an OCI archive into `directory`, which must not exist. Skopeo can do so too, but it unpacks whatever the archive
 * has: links, devices, any name. Here only plain files with the names of a layout come into being; other files are left out.
 */
export async function unpackOciArchive(path: string, directory: string, context: PullContext): Promise<void> {
  const { limits, freeBytes, progress, signal } = context;
  await mkdir(directory);
  let total = 0;
  const source = new ByteSource(
    layerBytes({ path, diffId: undefined }, (bytes) => {
      signal.throwIfAborted();
      total += bytes;
      if (total > limits.unpackedBytes) refuse(`the archive has more than ${limits.unpackedBytes} bytes`);
      if (total > freeBytes)
        throw imageError("DISK_FULL", `the archive has more than the ${freeBytes} bytes that are free`);
      progress("pull", "reading the archive", total);
    }),
  );
  const tar = new TarReader(source, tarLimits(limits));
  try {
    for (let entry = await tar.next(); entry !== undefined; entry = await tar.next()) {
      await writeMember(tar, entry, directory).catch((error: unknown) => {
        throw within(`entry ${shown(entry?.name ?? "")}`, error);
      });
    }
  } catch (error) {
    throw asRefusal(error);
  } finally {
    await source.close();
  }
}

async function writeMember(tar: TarReader, entry: TarEntry, directory: string): Promise<void> {
  const name = MEMBER.exec(entry.name)?.[1];
  if (name === undefined || entry.kind === "directory") return;
  if (entry.kind !== "file") refuse(`in an OCI archive this is a file, not a ${entry.kind}`);
  if (entry.sparse) refuse("an OCI archive has no sparse files");
  const path = join(directory, name);
  await mkdir(dirname(path), { recursive: true });
  const file = await open(path, "wx").catch((error: NodeJS.ErrnoException) => {
    throw error.code === "EEXIST" ? imageError("IMAGE_REFUSED", "it is there twice", error) : error;
  });
  try {
    for await (const chunk of tar.content()) await file.writeFile(chunk);
  } finally {
    await file.close();
  }
}
