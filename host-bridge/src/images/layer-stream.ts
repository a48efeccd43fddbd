import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { pipeline } from "node:stream";
import { createGunzip } from "node:zlib";
import { imageError, printable, refuse } from "./image-error.js";

const CHUNK = 1024 * 1024;

/** A layer on disk. */
export interface LayerBlob {
  path: string;
  /** Digest of the unpacked tar, from the config; it is what ties the layer to the image's digest. Not checked when undefined. */
  diffId: string | undefined;
}

/**
 * The unpacked bytes of a layer: plain tar, gzip or zstd, told apart by their first bytes (media types of archives lie).
 * Refuses other compressions and damaged data, and, at the end, content that is not what the config's diff_id promises.
 * @param spend Called with the count of each chunk before it is passed on; throws to stop.
 */
export async function* layerBytes(blob: LayerBlob, spend: (bytes: number) => void): AsyncGenerator<Buffer> {
  const hash = createHash("sha256");
  for await (const chunk of decompressed(blob.path)) {
    spend(chunk.length);
    hash.update(chunk);
    yield chunk;
  }
  const found = `sha256:${hash.digest("hex")}`;
  if (blob.diffId !== undefined && found !== blob.diffId)
    refuse(`its content is ${found}; the config promises ${blob.diffId}`);
}

async function* decompressed(path: string): AsyncGenerator<Buffer> {
  const file = await open(path);
  try {
    switch (await compressionOf(file)) {
      case "none":
        yield* createReadStream(path, { highWaterMark: CHUNK });
        return;
      case "gzip":
        yield* gunzipped(path);
        return;
      case "zstd":
        yield* unzstd(file);
    }
  } finally {
    await file.close();
  }
}

const MAGICS: [string, Buffer][] = [
  ["gzip", Buffer.from([0x1f, 0x8b])],
  ["zstd", Buffer.from([0x28, 0xb5, 0x2f, 0xfd])],
  ["xz", Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00])],
  ["bzip2", Buffer.from("BZh")],
];

async function compressionOf(file: FileHandle): Promise<"none" | "gzip" | "zstd"> {
  const { buffer, bytesRead } = await file.read(Buffer.alloc(6), 0, 6, 0);
  const start = buffer.subarray(0, bytesRead);
  const name = MAGICS.find(([, magic]) => start.subarray(0, magic.length).equals(magic))?.[0] ?? "none";
  if (name === "none" || name === "gzip" || name === "zstd") return name;
  return refuse(`it is compressed with ${name}, which is not supported (gzip and zstd are)`);
}

async function* gunzipped(path: string): AsyncGenerator<Buffer> {
  const gunzip = createGunzip({ chunkSize: CHUNK });
  pipeline(createReadStream(path, { highWaterMark: CHUNK }), gunzip, () => undefined); // errors come out of the iteration
  try {
    yield* gunzip;
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : "";
    if (!code.startsWith("Z_")) throw error;
    throw imageError("IMAGE_REFUSED", `its gzip data is damaged (${code})`, error);
  }
}

/** Through the zstd tool (found where execvp(3) looks without a PATH), which gets the open file and nothing else. */
async function* unzstd(file: FileHandle): AsyncGenerator<Buffer> {
  const child = spawn("zstd", ["-dcq"], { stdio: [file.fd, "pipe", "pipe"], env: {} });
  const { stdout, stderr } = child;
  if (stdout === null || stderr === null) throw new Error("a pipe of zstd is missing");
  let complaint = "";
  stderr.setEncoding("utf8").on("data", (text: string) => {
    complaint = (complaint + text).slice(0, 500);
  });
  const ended = new Promise<{ error?: Error; code: number | null }>((resolve) => {
    child.once("error", (error) => resolve({ error, code: null }));
    child.once("close", (code) => resolve({ code }));
  });
  try {
    yield* stdout as AsyncIterable<Buffer>;
    const { error, code } = await ended;
    if (error)
      throw imageError(
        "IMAGE_REFUSED",
        `it is compressed with zstd, and the zstd tool does not start: ${error.message}`,
      );
    if (code !== 0) refuse(`its zstd data is damaged: ${printable(complaint.trim())}`);
  } finally {
    child.kill("SIGKILL");
    await ended;
  }
}
