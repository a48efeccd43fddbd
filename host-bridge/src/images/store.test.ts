import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { Images } from "./image-store.js";
import { openImageStore } from "./store.js";
import { encodeTar } from "./tar-writer.js";
import { canMount, look } from "./testing/disk.js";
import { skopeoCopy, writeLayout } from "./testing/images.js";
import { freePort, startRegistry } from "./testing/registry.js";
import { scratch } from "./testing/scratch.js";

const silent = () => undefined;
const never = new AbortController().signal;
const hello = encodeTar([{ name: "hello", typeFlag: "0", content: Buffer.from("hello") }]);

const open = (directory: string): Promise<Images> =>
  openImageStore({ directory: join(directory, "images"), env: process.env });

describe("pull", { timeout: 60_000 }, () => {
  it("has a busybox without any source", async () => {
    const images = await open(scratch());
    const image = await images.pull("busybox", silent, never);
    expect(image).toMatchObject({ references: ["busybox"], config: { cmd: ["sh"], entrypoint: [] } });
    if (canMount) {
      const seen = look(image.diskPath);
      expect(seen["bin/busybox"]).toMatchObject({ kind: "file", mode: 0o755, uid: 0 });
      expect(seen["bin/ls"]).toMatchObject({ kind: "symlink", content: "/bin/busybox" });
      expect(seen.tmp).toMatchObject({ mode: 0o1777 });
    }
    expect(await images.pull("busybox", silent, never)).toMatchObject({ digest: image.digest });
  });

  it("brings an image from a registry, and uses what it has after that", async () => {
    const directory = scratch();
    const digest = writeLayout(join(directory, "layout"), [hello]);
    const registry = await startRegistry(directory);
    skopeoCopy(`oci:${directory}/layout:latest`, `docker://${registry}/hello:1`);
    const images = await open(directory);
    const image = await images.pull(`docker://${registry}/hello:1`, silent, never);
    expect(image).toMatchObject({
      digest,
      references: [`docker://${registry}/hello:1`],
      config: { cmd: ["/bin/true"] },
    });
    expect(existsSync(image.diskPath)).toBe(true);
    expect(await images.find(`${registry}/hello:1`)).toEqual(image);
    expect(await images.find(digest)).toEqual(image);
    expect(await images.find(digest.slice(7, 19))).toEqual(image);
    expect(readdirSync(join(directory, "images")).filter((name) => name.startsWith("tmp-"))).toEqual([]);
  });

  it("says that a registry is not there", async () => {
    const images = await open(scratch());
    await expect(images.pull(`127.0.0.1:${await freePort()}/x`, silent, never)).rejects.toMatchObject({
      reason: "REGISTRY_UNREACHABLE",
      code: "UNAVAILABLE",
      resource: { type: "image" },
    });
  });
});
