import { execFileSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { openImageStore } from "./store.js";
import { canMount, look, lookAt } from "./testing/disk.js";
import { skopeoCopy } from "./testing/images.js";
import { startRegistry } from "./testing/registry.js";
import { scratch } from "./testing/scratch.js";

/** Slow, and needs Debian's mirror: run with ZONE_TEST_SLOW=1. */
const enabled = process.env.ZONE_TEST_SLOW === "1" && canMount;

describe.skipIf(!enabled)("a Debian image (needs root, a mirror and ZONE_TEST_SLOW=1)", { timeout: 600_000 }, () => {
  it("has on our disk what GNU tar unpacks", async () => {
    const directory = scratch();
    const run = (command: string, ...args: string[]) => execFileSync(command, args, { cwd: directory, stdio: "pipe" });
    run("mmdebstrap", "--variant=apt", "bookworm", "rootfs.tar");
    run("umoci", "init", "--layout", "l");
    run("umoci", "new", "--image", "l:t");
    run("umoci", "raw", "add-layer", "--image", "l:t", "rootfs.tar");
    const registry = await startRegistry(directory);
    skopeoCopy(`oci:${directory}/l:t`, `docker://${registry}/debian:test`);

    const started = performance.now();
    const times: Record<string, number> = {};
    const images = await openImageStore({ directory: join(directory, "images"), env: process.env });
    const timed = (phase: string, message: string) => {
      times[phase === "pull" ? phase : message] ??= Math.round(performance.now() - started);
    };
    const image = await images.pull(`docker://${registry}/debian:test`, timed, new AbortController().signal);
    times.done = Math.round(performance.now() - started);
    console.log("milliseconds to the beginning of each phase:", times, "bytes:", image.sizeBytes);

    mkdirSync(join(directory, "unpacked"));
    run("tar", "-xpf", "rootfs.tar", "--xattrs", "--xattrs-include=*", "--numeric-owner", "-C", "unpacked");
    const expected = lookAt(join(directory, "unpacked"));
    const seen = look(image.diskPath);
    expect(Object.keys(seen).sort()).toEqual(Object.keys(expected).sort());
    for (const [path, node] of Object.entries(expected)) {
      if (path === "") continue; // the root's own entry is passed over
      const { inode: _, size, ...rest } = node;
      expect({ [path]: seen[path] }).toMatchObject({ [path]: rest });
      if (node.kind === "file") expect(seen[path]?.size).toBe(size);
    }
  });
});
