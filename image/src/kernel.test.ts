import { mkdir, mkdtemp, readdir, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { debianKernel, zoneKernel } from "./kernel.js";
import { run } from "./run.js";

let cache: string;
beforeEach(async () => {
  cache = await mkdtemp(join(tmpdir(), "zone-kernel-"));
});
afterEach(() => rm(cache, { recursive: true }));

const silent = (): void => undefined;

describe("debianKernel", () => {
  it("takes the unpacked one without asking the network", async () => {
    const source = join(cache, "source");
    await mkdir(join(source, "DEBIAN"), { recursive: true });
    await writeFile(
      join(source, "DEBIAN", "control"),
      "Package: linux-image-9.9.9-test\nVersion: 9.9.9-1\nArchitecture: all\nMaintainer: x <x@example.org>\nDescription: x\n",
    );
    const folder = join(cache, "debian");
    await mkdir(join(folder, "lib", "modules", "9.9.9-test"), { recursive: true });
    await run("dpkg-deb", ["--build", source, join(folder, "kernel.deb")]);

    const progress: string[] = [];
    expect(await debianKernel(cache, (line) => progress.push(line))).toEqual({
      flavour: "debian",
      release: "9.9.9-test",
      image: join(folder, "boot", "vmlinuz-9.9.9-test"),
      modules: join(folder, "lib", "modules", "9.9.9-test"),
      origin: { kind: "debian", package: "linux-image-9.9.9-test", version: "9.9.9-1" },
    });
    expect(progress).toEqual([]);
  });

  it("does not trust a folder without the package that it came from", async () => {
    await mkdir(join(cache, "debian", "lib"), { recursive: true });
    await expect(debianKernel(cache, silent)).rejects.toThrow("remove the folder");
    expect(await readdir(cache)).toEqual(["debian"]);
  });
});

describe("zoneKernel", () => {
  it("says how to build it when it is not there", async () => {
    await expect(zoneKernel(cache)).rejects.toThrow("npm run image:kernel");
  });

  it("takes the one that the link leads to", async () => {
    await mkdir(join(cache, "0123"));
    await writeFile(join(cache, "0123", "release"), "6.12.1-zone\n");
    await symlink("0123", join(cache, "zone"));
    await writeFile(join(cache, "0123", "origin"), "linux-source-6.12 6.12.1-1\n");
    expect(await zoneKernel(cache)).toEqual({
      flavour: "zone",
      release: "6.12.1-zone",
      image: join(cache, "0123", "vmlinux"),
      modules: undefined,
      origin: { kind: "debian", package: "linux-source-6.12", version: "6.12.1-1" },
    });
  });
});
