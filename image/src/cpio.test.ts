import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { cpio } from "./cpio.js";
import { complete, directory, type Entry, file } from "./tree.js";

const OURS = { kind: "zone-agent" } as const;

/** Trees of plain files: the first letter of a folder's name differs from a file's, so that no file lies in another. */
const trees = fc
  .dictionary(
    fc
      .tuple(
        fc.array(fc.stringMatching(/^d[a-z0-9._-]{0,6}$/), { maxLength: 3 }),
        fc.stringMatching(/^f[a-z0-9._-]{0,9}$/),
      )
      .map(([folders, name]) => [...folders, name].join("/")),
    fc.uint8Array({ maxLength: 40 }),
    { maxKeys: 12 },
  )
  .map((files) => Object.entries(files).map(([path, content]) => file(path, content, OURS, "test")));

function unpacked<T>(archive: Buffer, look: (folder: string) => T): T {
  const folder = mkdtempSync(join(tmpdir(), "zone-cpio-"));
  try {
    execFileSync("cpio", ["--extract", "--make-directories", "--quiet"], { cwd: folder, input: archive });
    return look(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

describe("cpio", () => {
  it("is what cpio(1) unpacks to the same files", () => {
    fc.assert(
      fc.property(trees, (entries) =>
        unpacked(cpio(entries), (folder) => {
          const names = readdirSync(folder, { recursive: true, encoding: "utf8" }).sort();
          expect(names).toEqual(
            complete(entries)
              .map(({ path }) => path)
              .sort(),
          );
          for (const entry of entries)
            expect(readFileSync(join(folder, entry.path))).toEqual(Buffer.from(entry.content));
        }),
      ),
      { numRuns: 30 },
    );
  });

  it("does not depend on the order of the entries", () => {
    const shuffled = trees.chain((entries) =>
      fc.tuple(fc.constant(entries), fc.shuffledSubarray(entries, { minLength: entries.length })),
    );
    fc.assert(fc.property(shuffled, ([one, other]) => cpio(one).equals(cpio(other))));
  });

  it("keeps modes and device numbers, and belongs to root", () => {
    const entries: Entry[] = [
      { kind: "character-device", path: "dev/console", mode: 0o600, major: 5, minor: 1 },
      file("init", "x", OURS, "test", 0o755),
      directory("tmp", 0o1777),
    ];
    const listing = execFileSync("cpio", ["--list", "--verbose", "--numeric-uid-gid", "--quiet"], {
      input: cpio(entries),
      encoding: "utf8",
      env: { ...process.env, LC_ALL: "C", TZ: "UTC" },
    });
    const lines = listing
      .trim()
      .split("\n")
      .map((line) => line.replace(/\s+/g, " "));
    expect(lines).toEqual([
      "drwxr-xr-x 2 0 0 0 Jan 1 1970 dev",
      "crw------- 1 0 0 5, 1 Jan 1 1970 dev/console",
      "-rwxr-xr-x 1 0 0 1 Jan 1 1970 init",
      "drwxrwxrwt 2 0 0 0 Jan 1 1970 tmp",
    ]);
  });

  it("gives sizes and modes of unpacked files", () => {
    const archive = cpio([file("a/b", Buffer.alloc(5), OURS, "test", 0o640)]);
    unpacked(archive, (folder) => {
      const { size, mode } = statSync(join(folder, "a/b"));
      expect([size, mode & 0o777]).toEqual([5, 0o640]);
    });
  });
});

describe("complete", () => {
  const empty = (path: string) => file(path, "", OURS, "test");

  it("puts every folder before what is in it", () => {
    const paths = complete([empty("a/b/c"), empty("a.b"), empty("a-b")]).map(({ path }) => path);
    expect(paths).toEqual(["a", "a-b", "a.b", "a/b", "a/b/c"]);
  });

  it.each(["", "/a", "a/", "a//b", "./a", "a/../b", "a\0"])("refuses the path %j", (path) => {
    expect(() => complete([empty(path)])).toThrow(RangeError);
  });

  it("refuses a path that is there twice", () => {
    expect(() => complete([empty("a"), directory("a")])).toThrow('"a" is in the tree twice');
  });

  it("refuses a file in a file", () => {
    expect(() => complete([empty("a"), empty("a/b/c")])).toThrow("which is no folder");
  });
});
