import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { BuildError } from "./errors.js";
import { libraryClosure, parseLoaderList } from "./libraries.js";
import { originsOf, parseOwners, versionsOf } from "./origins.js";
import { run } from "./run.js";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "zone-host-files-"));
});
afterAll(() => rm(folder, { recursive: true }));

describe("libraryClosure", () => {
  it("finds the libraries of libraries", async () => {
    const libraries = await libraryClosure(["/usr/bin/crun", process.execPath]);
    const names = libraries.map(({ path }) => path.replace(/.*\//, ""));
    // libgpg-error is needed by libgcrypt, which is needed by libsystemd, which is needed by crun.
    expect(names).toEqual(
      expect.arrayContaining(["libc.so.6", "libsystemd.so.0", "libgpg-error.so.0", "libstdc++.so.6"]),
    );
    expect(names).toEqual([...new Set(names)]);
    expect(libraries.find(({ path }) => path.endsWith("/libc.so.6"))?.neededBy).toEqual(["crun", "node"]);
  });

  it("names the library that is missing", () => {
    const text = "\tlinux-vdso.so.1 (0x00007ff)\n\tlibgone.so.1 => not found\n";
    expect(() => parseLoaderList(text, "/bin/x")).toThrow("/bin/x needs libgone.so.1, which is not installed");
  });

  it("refuses what is no ELF file", async () => {
    const text = join(folder, "text");
    await writeFile(text, "#!/bin/sh\n");
    await expect(libraryClosure([text])).rejects.toThrow(BuildError);
  });

  it("takes any text of the loader without anything but a BuildError", () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        try {
          parseLoaderList(text, "x");
        } catch (error) {
          expect(error).toBeInstanceOf(BuildError);
        }
      }),
    );
  });
});

describe("originsOf", () => {
  it("knows packages by either name of /lib, and files of nobody", async () => {
    const own = join(folder, "own");
    await writeFile(own, "");
    const origins = await originsOf(["/lib64/ld-linux-x86-64.so.2", "/usr/bin/crun", own]);
    const versions = await versionsOf(["libc6", "crun"]);
    expect(origins.get("/lib64/ld-linux-x86-64.so.2")).toEqual({
      kind: "debian",
      package: "libc6",
      version: versions.get("libc6"),
    });
    expect(origins.get("/usr/bin/crun")).toEqual({ kind: "debian", package: "crun", version: versions.get("crun") });
    expect(origins.get(own)).toEqual({ kind: "host", path: own });
  });

  it("refuses to give the version of what is not installed", async () => {
    await expect(versionsOf(["zone-agent-no-such-package"])).rejects.toThrow("zone-agent-no-such-package");
  });

  it("passes over diversions", () => {
    const text = "diversion by dash from: /bin/sh\nlibc6:amd64: /lib/a\na, b: /usr/share/doc\n";
    expect([...parseOwners(text)]).toEqual([
      ["/lib/a", "libc6:amd64"],
      ["/usr/share/doc", "a"],
    ]);
  });
});

describe("run", () => {
  it("says what failed and how", async () => {
    await expect(run("dpkg-deb", ["--field", "/no/such.deb"])).rejects.toThrow("/no/such.deb");
    await expect(run("zone-no-such-program", [])).rejects.toThrow("is it installed?");
  });
});
