import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openZoneImage } from "./zone-image.js";

describe("openZoneImage", () => {
  let directory: string;
  const manifest = {
    version: "abc1",
    kernelRelease: "6.1",
    cmdline: "quiet",
    files: { vmlinuz: {}, "initramfs.cpio": {}, "root.erofs": {} },
  };
  beforeEach(async () => {
    directory = await mkdtemp("/tmp/zone-image-");
    await mkdir(join(directory, "abc1"));
    await symlink("abc1", join(directory, "current"));
  });
  afterEach(() => rm(directory, { recursive: true, force: true }));

  const write = (text: string) => writeFile(join(directory, "abc1/manifest.json"), text);

  it("follows the link once, so that all files are of one image", async () => {
    await write(JSON.stringify(manifest));
    expect(await openZoneImage(join(directory, "current"))).toEqual({
      directory: join(directory, "abc1"),
      version: "abc1",
      kernelRelease: "6.1",
      commandLine: "quiet",
      digest: expect.stringMatching(/^[0-9a-f]{64}$/),
      kernel: join(directory, "abc1/vmlinuz"),
      initramfs: join(directory, "abc1/initramfs.cpio"),
      root: join(directory, "abc1/root.erofs"),
    });
  });

  it.each([
    ["no JSON", "{", /JSON/],
    ["null", "null", /./],
    ["no version", JSON.stringify({ ...manifest, version: undefined }), /version/],
    ["a version that is a path", JSON.stringify({ ...manifest, version: "../x" }), /version/],
    ["a command line of two lines", JSON.stringify({ ...manifest, cmdline: "a\nb" }), /cmdline/],
    ["a file missing", JSON.stringify({ ...manifest, files: { vmlinuz: {} } }), /initramfs\.cpio/],
  ])("refuses a manifest with %s", async (_what, text, why) => {
    await write(text);
    await expect(openZoneImage(join(directory, "current"))).rejects.toMatchObject({
      reason: "NO_ZONE_IMAGE",
      message: expect.stringMatching(why),
    });
  });

  it("says how to make one where there is none", async () => {
    await expect(openZoneImage("/no/such")).rejects.toMatchObject({
      message: expect.stringContaining("npm run image"),
    });
  });
});
