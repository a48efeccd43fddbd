import { mkdtemp, open, readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { copySparse, dataRuns } from "./sparse-copy.js";

const PAGE = 4096;
let directory: string;
beforeAll(async () => {
  directory = await mkdtemp("/tmp/zone-sparse-");
});
afterAll(() => rm(directory, { recursive: true, force: true }));

describe("dataRuns", () => {
  it("covers every byte that is not zero, and no page of zeros", () => {
    const pages = fc.array(fc.constantFrom(0, 0, 1, 2), { minLength: 1, maxLength: 64 });
    fc.assert(
      fc.property(pages, fc.integer({ min: 1, max: PAGE }), (kinds, lastLength) => {
        const chunk = Buffer.alloc((kinds.length - 1) * PAGE + lastLength);
        for (const [i, kind] of kinds.entries()) {
          const end = Math.min((i + 1) * PAGE, chunk.length) - 1;
          if (kind !== 0) chunk[kind === 1 ? i * PAGE : end] = 1;
        }
        const expected = kinds.map((kind) => kind !== 0);
        const covered = kinds.map(() => false);
        for (const [start, end] of dataRuns(chunk)) {
          for (let page = start / PAGE; page * PAGE < end; page++) covered[page] = true;
        }
        expect(covered).toEqual(expected);
      }),
    );
  });
});

describe("copySparse", () => {
  it("copies exactly, and stores no zeros", async () => {
    const contents = Buffer.alloc(3 * 2 ** 20 + 5000);
    contents.fill("data", 8192, 20000);
    contents[contents.length - 1] = 7;
    const path = join(directory, "from");
    await writeFile(path, contents);
    const [from, to] = [await open(path, "r"), await open(join(directory, "to"), "wx+")];
    expect(await copySparse(from, to, new AbortController().signal)).toBe(3 * PAGE + (5000 - PAGE));
    await Promise.all([from.close(), to.close()]);
    expect((await readFile(join(directory, "to"))).equals(contents)).toBe(true);
    expect((await stat(join(directory, "to"))).blocks * 512).toBeLessThan(64 * 1024);
  });

  it("stops when it is cancelled", async () => {
    const path = join(directory, "large");
    const [from, to] = [await open(path, "wx+"), await open(join(directory, "never"), "wx+")];
    await from.truncate(2 ** 20);
    await expect(copySparse(from, to, AbortSignal.abort(new Error("enough")))).rejects.toThrow("enough");
    await Promise.all([from.close(), to.close()]);
  });
});
