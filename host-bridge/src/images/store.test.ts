import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { encodeTar, file, hardlink } from "@zone/tar";
import { describe, expect, it } from "vitest";
import { canMount, look } from "./testing/disk.js";
import { skopeoCopy, writeLayout } from "./testing/images.js";
import { freePort, startRegistry } from "./testing/registry.js";
import { scratch } from "./testing/scratch.js";
import { hello, leftovers, never, openStore, other, silent } from "./testing/store.js";

describe("pull", { timeout: 120_000 }, () => {
  it("has a busybox without any source", async () => {
    const directory = scratch();
    const images = await openStore(directory);
    const image = await images.pull("busybox", silent, never);
    expect(image).toMatchObject({ references: ["busybox"], config: { cmd: ["sh"], entrypoint: [] } });
    expect(await images.pull("busybox", silent, never)).toMatchObject({ digest: image.digest });
    expect(leftovers(directory)).toEqual([]);
    if (!canMount) return;
    const seen = look(image.diskPath);
    expect(seen["bin/busybox"]).toMatchObject({ kind: "file", mode: 0o755, uid: 0 });
    expect(seen["bin/ls"]).toMatchObject({ kind: "symlink", content: "/bin/busybox" });
    expect(seen.tmp).toMatchObject({ mode: 0o1777 });
  });

  it("says what the built-in image lacks", async () => {
    const images = await openStore(scratch(), { busybox: "/missing" });
    const missing = {
      reason: "IMAGE_UNKNOWN",
      message: expect.stringMatching(/static busybox.*install busybox-static/),
    };
    await expect(images.pull("busybox", silent, never)).rejects.toMatchObject(missing);
    const dynamic = await openStore(scratch(), { busybox: "/bin/true" });
    await expect(dynamic.pull("busybox", silent, never)).rejects.toMatchObject(missing);
  });

  it("brings an image from a registry, keeps it, and asks again only when told to", async () => {
    const directory = scratch();
    const layout = join(directory, "layout");
    const digest = writeLayout(layout, [hello]);
    const registry = await startRegistry(directory);
    const name = `${registry}/hello:1`;
    skopeoCopy(`oci:${layout}:latest`, `docker://${name}`);
    const images = await openStore(directory);
    const phases = new Set<string>();
    const image = await images.pull(`docker://${name}`, (phase) => phases.add(phase), never);
    expect(image).toMatchObject({ digest, references: [`docker://${name}`], config: { cmd: ["/bin/true"] } });
    expect([...phases]).toEqual(["pull", "unpack"]);
    expect(statSync(image.diskPath)).toMatchObject({ mode: 0o100444, size: image.sizeBytes });
    for (const key of [name, digest, digest.slice(0, 20), digest.slice(7, 19)])
      expect(await images.find(key)).toEqual(image);

    const changed = writeLayout(join(directory, "changed"), [other]);
    skopeoCopy(`oci:${directory}/changed:latest`, `docker://${name}`);
    expect(await images.pull(name, silent, never)).toMatchObject({ digest });
    expect(await images.pull(name, silent, never, { policy: "always" })).toMatchObject({
      digest: changed,
      references: [name],
    });
    expect(await images.pull(name, silent, never, { policy: "always" })).toMatchObject({ digest: changed });
    expect(await images.find(digest)).toMatchObject({ references: [] });
    expect(await images.list()).toHaveLength(2);
    expect(leftovers(directory)).toEqual([]);
  });

  it("maps what registries answer", async () => {
    const directory = scratch();
    const registry = await startRegistry(directory);
    const images = await openStore(directory);
    await expect(images.pull(`${registry}/nothing`, silent, never)).rejects.toMatchObject({ reason: "IMAGE_UNKNOWN" });
    await expect(images.pull(`127.0.0.1:${await freePort()}/x`, silent, never)).rejects.toMatchObject({
      reason: "REGISTRY_UNREACHABLE",
      code: "UNAVAILABLE",
      resource: { type: "image" },
      message: expect.stringMatching(/^image 127\.0\.0\.1:\d+\/x: .*connection refused/),
    });
    await expect(images.pull("NOT VALID", silent, never)).rejects.toMatchObject({ reason: "INVALID_IMAGE" });
    await expect(images.pull(`sha256:${"0".repeat(64)}`, silent, never)).rejects.toMatchObject({
      reason: "IMAGE_UNKNOWN",
    });
    expect(leftovers(directory)).toEqual([]);
  });

  it("says that skopeo is missing", async () => {
    const images = await openStore(scratch(), { env: { PATH: "/nowhere" } });
    const missing = { reason: "SKOPEO_MISSING", code: "FAILED_PRECONDITION" };
    await expect(images.pull("localhost/x", silent, never)).rejects.toMatchObject(missing);
  });

  it("says when a registry wants a log-in", async () => {
    const directory = scratch();
    writeFileSync(join(directory, "htpasswd"), "user:$2y$05$LhayLxezLhK1LhWvKxCyLOj0j1u.Kj0jZ0pEmm134uzrQlFvQJLF6\n");
    const registry = await startRegistry(directory, `auth: {htpasswd: {realm: test, path: ${directory}/htpasswd}}\n`);
    const images = await openStore(directory);
    await expect(images.pull(`${registry}/x`, silent, never)).rejects.toMatchObject({
      reason: "REGISTRY_DENIED",
      code: "PERMISSION_DENIED",
    });
  });

  it("keeps what it has when the registry is gone, and says so when asked to look", async () => {
    const directory = scratch();
    const digest = writeLayout(join(directory, "layout"), [hello]);
    const registry = await startRegistry(directory);
    skopeoCopy(`oci:${directory}/layout:latest`, `docker://${registry}/hello`);
    await (await openStore(directory)).pull(`${registry}/hello`, silent, never);
    const images = await openStore(directory); // a later bridge
    const gone = `127.0.0.1:${await freePort()}`;
    const index = join(directory, "images", "references.json");
    writeFileSync(index, readFileSync(index, "utf8").replaceAll(registry, gone));
    const later = await openStore(directory);
    expect(await images.list()).toHaveLength(1);
    expect(await later.pull(`${gone}/hello`, silent, never)).toMatchObject({ digest });
    await expect(later.pull(`${gone}/hello`, silent, never, { policy: "always" })).rejects.toMatchObject({
      reason: "REGISTRY_UNREACHABLE",
    });
    expect(await later.find(`${gone}/hello`)).toMatchObject({ digest });
  });

  it("takes layouts and archives, compressed or not", async () => {
    const directory = scratch();
    const layout = join(directory, "layout");
    const digest = writeLayout(layout, [hello, other], { compress: gzipSync });
    skopeoCopy(`oci:${layout}:latest`, `oci-archive:${directory}/oci.tar:x/y:z`);
    skopeoCopy(`oci:${layout}:latest`, `docker-archive:${directory}/docker.tar:x/y:z`);
    const images = await openStore(directory);
    expect(await images.pull(`oci:${layout}:latest`, silent, never)).toMatchObject({ digest });
    expect(await images.pull(`oci-archive:${directory}/oci.tar`, silent, never)).toMatchObject({ digest });
    execFileSync("gzip", [join(directory, "oci.tar")]);
    expect(await images.pull(`oci-archive:${directory}/oci.tar.gz:x/y:z`, silent, never)).toMatchObject({ digest });
    const docker = await images.pull(`docker-archive:${directory}/docker.tar`, silent, never);
    if (canMount) expect(Object.keys(look(docker.diskPath))).toEqual(["", "hello", "other"]);
    await expect(images.pull(`oci:${layout}:missing`, silent, never)).rejects.toMatchObject({
      reason: "IMAGE_UNKNOWN",
    });
    await expect(images.pull(`oci:${directory}/none`, silent, never)).rejects.toMatchObject({
      reason: "IMAGE_UNKNOWN",
    });
    await expect(images.pull(`oci-archive:${layout}`, silent, never)).rejects.toMatchObject({
      reason: "INVALID_IMAGE",
    });
    await expect(images.pull("docker-archive:/dev/zero", silent, never)).rejects.toMatchObject({
      reason: "INVALID_IMAGE",
    });
    writeFileSync(join(directory, "text"), "no archive");
    for (const transport of ["oci-archive", "docker-archive"]) {
      const pulled = images.pull(`${transport}:${directory}/text`, silent, never);
      await expect(pulled).rejects.toMatchObject({ reason: "IMAGE_REFUSED" });
    }
    expect(leftovers(directory)).toEqual([]);
  });

  it("sees that a layout has changed without being told to look", async () => {
    const directory = scratch();
    const layout = join(directory, "layout");
    const images = await openStore(directory);
    const before = writeLayout(layout, [hello]);
    expect(await images.pull(`oci:${layout}`, silent, never)).toMatchObject({ digest: before });
    const after = writeLayout(layout, [other]);
    expect(await images.pull(`oci:${layout}`, silent, never)).toMatchObject({ digest: after });
  });

  it("takes zstd layers", async () => {
    const directory = scratch();
    const zstd = (layer: Buffer) => execFileSync("zstd", ["-c"], { input: layer });
    const digest = writeLayout(join(directory, "layout"), [hello], { compress: zstd });
    expect(await (await openStore(directory)).pull(`oci:${directory}/layout`, silent, never)).toMatchObject({ digest });
    const damaged = (layer: Buffer) => zstd(layer).fill(0xff, 20);
    writeLayout(join(directory, "damaged"), [other], { compress: damaged });
    await expect((await openStore(directory)).pull(`oci:${directory}/damaged`, silent, never)).rejects.toMatchObject({
      reason: "IMAGE_REFUSED",
      message: expect.stringMatching(/zstd data is damaged/),
    });
  });

  it.skipIf(!canMount)("applies layers that umoci and GNU tar made, and reads umoci's config", async () => {
    const directory = scratch();
    const run = (command: string, ...args: string[]) => execFileSync(command, args, { cwd: directory, stdio: "pipe" });
    const write = (name: string, tar: Buffer) => writeFileSync(join(directory, name), tar);
    mkdirSync(join(directory, "base/dir"), { recursive: true });
    for (const name of ["keep", "gone", "dir/old"]) writeFileSync(join(directory, "base", name), name);
    run("mknod", "base/null", "c", "1", "3");
    run("ln", "base/keep", "base/linked");
    run("setcap", "cap_net_raw+ep", "base/keep");
    run(
      "tar",
      "-cf",
      "base.tar",
      "--xattrs",
      "--xattrs-include=*",
      "--owner=12:12",
      "--group=34:34",
      "-C",
      "base",
      ".",
    );
    write(
      "upper.tar",
      encodeTar([file(".wh.gone"), file("dir/.wh..wh..opq"), file("dir/new"), hardlink("also", "keep")]),
    );
    run("umoci", "init", "--layout", "l");
    run("umoci", "new", "--image", "l:t");
    run("umoci", "raw", "add-layer", "--image", "l:t", "base.tar");
    run("umoci", "raw", "add-layer", "--image", "l:t", "upper.tar");
    const settings = [
      "--config.entrypoint=/e",
      "--config.cmd=c",
      "--config.env=A=b c",
      "--config.user=1:2",
      "--config.workingdir=/w",
    ];
    run("umoci", "config", "--image", "l:t", ...settings);
    const image = await (await openStore(directory)).pull(`oci:${directory}/l:t`, silent, never);
    expect(image.config).toMatchObject({ entrypoint: ["/e"], cmd: ["c"], user: "1:2", workingDir: "/w" });
    expect(image.config.env).toContain("A=b c");
    const seen = look(image.diskPath);
    expect(Object.keys(seen)).toEqual(["", "also", "dir", "dir/new", "keep", "linked", "null"]);
    expect(seen.keep).toMatchObject({ uid: 12, gid: 34, links: 3, inode: seen.linked?.inode });
    expect(seen.also?.inode).toBe(seen.keep?.inode);
    expect(Object.keys(seen.keep?.xattrs ?? {})).toEqual(["security.capability"]);
    expect(seen.null).toMatchObject({ kind: "character", rdev: "1:3" });
  });

  it("shares the work of pulls at the same time", async () => {
    const directory = scratch();
    const digest = writeLayout(join(directory, "layout"), [hello]);
    writeLayout(join(directory, "same"), [hello]);
    const images = await openStore(directory);
    const names = ["layout", "layout", "same", "layout", "same"].map((name) => `oci:${directory}/${name}`);
    const pulled = await Promise.all(names.map((name) => images.pull(name, silent, never)));
    expect(new Set(pulled.map((image) => image.digest))).toEqual(new Set([digest]));
    expect((await images.list())[0]?.references.sort()).toEqual([...new Set(names)].sort());
    expect(leftovers(directory)).toEqual([]);
  });
});

describe("what is kept", { timeout: 120_000 }, () => {
  it("is there for the next bridge, without what was left unfinished", async () => {
    const directory = scratch();
    const images = await openStore(directory);
    const image = await images.pull("busybox", silent, never);
    mkdirSync(join(directory, "images", "tmp-pull-abc", "image"), { recursive: true });
    writeFileSync(join(directory, "images", "tmp-pull-abc", "image", "blob"), "x");
    const later = await openStore(directory);
    expect(await later.list()).toEqual([image]);
    expect(leftovers(directory)).toEqual([]);
  });

  it("goes with its last reference, or by digest", async () => {
    const directory = scratch();
    const digest = writeLayout(join(directory, "one"), [hello]);
    writeLayout(join(directory, "two"), [hello]);
    const images = await openStore(directory);
    const { diskPath } = await images.pull(`oci:${directory}/one`, silent, never);
    await images.pull(`oci:${directory}/two`, silent, never);
    await images.remove(`oci:${directory}/one`);
    expect(await images.find(digest)).toMatchObject({ references: [`oci:${directory}/two`] });
    await images.remove(`oci:${directory}/two`);
    expect(existsSync(diskPath)).toBe(false);
    await images.pull(`oci:${directory}/one`, silent, never);
    await images.remove(digest.slice(7, 19));
    expect(await images.list()).toEqual([]);
    await expect(images.remove("nothing")).rejects.toMatchObject({ reason: "IMAGE_UNKNOWN" });
    expect(await (await openStore(directory)).list()).toEqual([]);
    expect(readdirSync(join(directory, "images"))).toEqual(["references.json"]);
  });

  it("is not found by a prefix that two have", async () => {
    const directory = scratch();
    const { digest } = await (await openStore(directory)).pull("busybox", silent, never);
    const twin = digest.slice(0, -1) + (digest.endsWith("0") ? "1" : "0");
    const folder = (name: string) => join(directory, "images", name.slice("sha256:".length));
    execFileSync("cp", ["-r", folder(digest), folder(twin)]);
    const record = join(folder(twin), "image.json");
    writeFileSync(record, readFileSync(record, "utf8").replace(digest, twin));
    const images = await openStore(directory);
    expect(await images.find(digest.slice(0, 30))).toBeUndefined();
    expect(await images.find(digest)).toMatchObject({ digest, references: ["busybox"] });
    expect(await images.find(twin)).toMatchObject({ digest: twin, references: [] });
  });

  it("says which file it cannot read", async () => {
    const directory = scratch();
    mkdirSync(join(directory, "images"));
    writeFileSync(join(directory, "images", "references.json"), "{");
    await expect(openStore(directory)).rejects.toMatchObject({
      reason: "STATE_BROKEN",
      message: expect.stringMatching(/references\.json/),
    });
  });
});
