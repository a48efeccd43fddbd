import type { FileHandle } from "node:fs/promises";

const CHUNK_BYTES = 1 << 20;
const PAGE_BYTES = 4096;

/** Copies `from` to the empty file `to`, same size, leaving holes where there are pages of zeros. Answers with the bytes written. */
export async function copySparse(from: FileHandle, to: FileHandle, signal: AbortSignal): Promise<number> {
  const { size } = await from.stat();
  await to.truncate(size);
  const chunk = Buffer.alloc(CHUNK_BYTES);
  let written = 0;
  for (let offset = 0; offset < size; offset += chunk.length) {
    signal.throwIfAborted();
    const { bytesRead } = await from.read(chunk, 0, chunk.length, offset);
    if (bytesRead < Math.min(chunk.length, size - offset)) throw new Error(`the file became shorter at ${offset}`);
    for (const [start, end] of dataRuns(chunk.subarray(0, bytesRead))) {
      await writeAll(to, chunk.subarray(start, end), offset + start);
      written += end - start;
    }
  }
  return written;
}

const ZEROS = Buffer.alloc(CHUNK_BYTES);

/** The runs of pages that are not all zero. */
export function* dataRuns(chunk: Buffer): Generator<[start: number, end: number]> {
  if (chunk.equals(ZEROS.subarray(0, chunk.length))) return;
  let start = -1;
  for (let page = 0; page < chunk.length; page += PAGE_BYTES) {
    const end = Math.min(page + PAGE_BYTES, chunk.length);
    const zero = chunk.compare(ZEROS, 0, end - page, page, end) === 0;
    if (!zero && start < 0) start = page;
    if (zero && start >= 0) {
      yield [start, page];
      start = -1;
    }
  }
  if (start >= 0) yield [start, chunk.length];
}

async function writeAll(to: FileHandle, bytes: Buffer, position: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const { bytesWritten } = await to.write(bytes, done, bytes.length - done, position + done);
    done += bytesWritten;
  }
}
