import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { encodeTar, file, folder, pax } from "@zone/tar";
import { describe, expect, it, onTestFinished } from "vitest";
import type { ImageStoreOptions } from "./store.js";
import { canMount } from "./testing/disk.js";
import { type MadeImage, writeLayout } from "./testing/images.js";
import { scratch } from "./testing/scratch.js";
import { hello, leftovers, never, openStore, other, silent, withLimits } from "./testing/store.js";

describe("what a malicious or broken image gets", { timeout: 120_000 }, () => {
  const bomb = encodeTar([file("zeros", Buffer.alloc(8 * 1024 * 1024))]);
  it.each<[string, Buffer[], MadeImage, RegExp, Partial<ImageStoreOptions>?]>([
    [
      "a name that leads out",
      [hello, encodeTar([file("../x")])],
      {},
      /layer 2 of 2: entry "\.\.\/x": .*out of the image/,
    ],
    [
      "content that the config does not promise",
      [hello],
      { config: { rootfs: { diff_ids: [`sha256:${"0".repeat(64)}`] } } },
      /promises/,
    ],
    ["fewer layers than the config says", [hello], { config: { rootfs: { diff_ids: [] } } }, /1 layers, its config 0/],
    ["another architecture", [hello], { config: { architecture: "sparc" } }, /linux\/sparc/],
    ["damaged gzip", [hello], { compress: (layer) => gzipSync(layer).fill(7, 15) }, /gzip data is damaged/],
    ["gzip cut short", [hello], { compress: (layer) => gzipSync(layer).subarray(0, -10) }, /gzip data is damaged/],
    [
      "another compression",
      [hello],
      { compress: (tar) => execFileSync("xz", ["-c"], { input: tar }) },
      /xz, which is not supported/,
    ],
    ["a layer that is no tar", [Buffer.alloc(2048, "text")], {}, /not a tar|not a number/],
    [
      "more bytes than may be",
      [bomb],
      { compress: gzipSync },
      /more than 1000000 bytes/,
      withLimits({ unpackedBytes: 1e6 }),
    ],
    ["a bomb", [bomb], { compress: gzipSync }, /200 times its size/, withLimits({ ratioFromBytes: 1e6 })],
    ["a bomb of zstd", [bomb], { compress: zstd }, /200 times its size/, withLimits({ ratioFromBytes: 1e6 })],
    ["a size that is a lie", [encodeTar([pax({ size: "900000000000" }), file("f")])], {}, /ends too early/],
    ["too many layers", [hello, other], {}, /2 layers; 1 are the most/, withLimits({ layers: 1 })],
  ])("refuses %s", async (_, layers, made, message, more = {}) => {
    const directory = scratch();
    writeLayout(join(directory, "layout"), layers, made);
    const images = await openStore(directory, more);
    await expect(images.pull(`oci:${directory}/layout`, silent, never)).rejects.toMatchObject({
      reason: "IMAGE_REFUSED",
      code: "FAILED_PRECONDITION",
      domain: "zone.bridge",
      message: expect.stringMatching(message),
      resource: { type: "image", name: `oci:${directory}/layout` },
    });
    expect(await images.list()).toEqual([]);
    expect(readdirSync(join(directory, "images"))).toEqual([]);
  });

  it("says that an index has nothing for this architecture", async () => {
    const directory = scratch();
    const layout = join(directory, "layout");
    writeLayout(layout, [hello]);
    const index = JSON.parse(readFileSync(join(layout, "index.json"), "utf8")) as {
      manifests: Record<string, unknown>[];
    };
    const [manifest] = index.manifests;
    const inner = {
      schemaVersion: 2,
      manifests: [{ ...manifest, annotations: {}, platform: { architecture: "s390x", os: "linux" } }],
    };
    const bytes = Buffer.from(JSON.stringify(inner));
    const hex = execFileSync("sha256sum", { input: bytes, encoding: "utf8" }).slice(0, 64);
    writeFileSync(join(layout, "blobs/sha256", hex), bytes);
    const mediaType = "application/vnd.oci.image.index.v1+json";
    writeFileSync(
      join(layout, "index.json"),
      JSON.stringify({ schemaVersion: 2, manifests: [{ mediaType, digest: `sha256:${hex}`, size: bytes.length }] }),
    );
    await expect((await openStore(directory)).pull(`oci:${layout}`, silent, never)).rejects.toMatchObject({
      reason: "IMAGE_UNKNOWN",
    });
  });

  it.each<[string, Parameters<typeof encodeTar>[0], RegExp]>([
    ["a link", [file("oci-layout"), { name: "index.json", typeFlag: "2", linkName: "/etc/passwd" }], /not a symlink/],
    ["a device", [{ name: `blobs/sha256/${"a".repeat(64)}`, typeFlag: "3", major: 1, minor: 5 }], /not a character/],
    ["a file twice", [file("oci-layout"), file("oci-layout")], /twice/],
  ])("refuses %s in an OCI archive", async (_, members, message) => {
    const directory = scratch();
    writeFileSync(join(directory, "evil.tar"), encodeTar(members));
    await expect(
      (await openStore(directory)).pull(`oci-archive:${directory}/evil.tar`, silent, never),
    ).rejects.toMatchObject({
      reason: "IMAGE_REFUSED",
      message: expect.stringMatching(message),
    });
    expect(leftovers(directory)).toEqual([]);
  });

  it("leaves out what does not belong into an OCI archive", async () => {
    const directory = scratch();
    const layout = join(directory, "layout");
    const digest = writeLayout(layout, [hello]);
    writeFileSync(join(directory, "evil.tar"), encodeTar([file("../../escaped"), folder("blobs"), file("blobs/../x")]));
    execFileSync("tar", ["-cf", join(directory, "good.tar"), "-C", layout, "."]);
    execFileSync("tar", ["-Af", join(directory, "evil.tar"), join(directory, "good.tar")]);
    expect(await (await openStore(directory)).pull(`oci-archive:${directory}/evil.tar`, silent, never)).toMatchObject({
      digest,
    });
    expect(existsSync(join(directory, "escaped"))).toBe(false);
  });

  it("does not fill the disk", async () => {
    const directory = scratch();
    writeLayout(join(directory, "layout"), [bomb], { compress: gzipSync });
    const images = await openStore(directory, withLimits({ diskReserveBytes: 2 ** 60 }));
    await expect(images.pull(`oci:${directory}/layout`, silent, never)).rejects.toMatchObject({ reason: "DISK_FULL" });
    expect(leftovers(directory)).toEqual([]);
  });

  it.skipIf(!canMount)("says so when the disk is full all the same", async () => {
    const directory = scratch();
    mkdirSync(join(directory, "images"));
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=9m", "none", join(directory, "images")]);
    onTestFinished(() => void execFileSync("umount", ["-l", join(directory, "images")]));
    writeLayout(join(directory, "layout"), [bomb, other], { compress: gzipSync });
    const images = await openStore(directory, withLimits({ diskReserveBytes: 0 }));
    writeFileSync(join(directory, "images", "in-the-way"), Buffer.alloc(4 * 1024 * 1024));
    await expect(images.pull(`oci:${directory}/layout`, silent, never)).rejects.toMatchObject({ reason: "DISK_FULL" });
    expect(leftovers(directory)).toEqual(["in-the-way"]);
  });
});

function zstd(layer: Buffer): Buffer {
  return execFileSync("zstd", ["-c"], { input: layer });
}
