import { mkdir, mkdtemp, readdir, rm, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { TemplateStore } from "./template-store.js";

describe("TemplateStore", () => {
  let directory: string;
  let store: TemplateStore;
  beforeEach(async () => {
    directory = await mkdtemp("/tmp/zone-store-");
    store = new TemplateStore(directory);
  });
  afterEach(() => rm(directory, { recursive: true, force: true }));

  const add = (key: string, image = "v1", state = "state") =>
    store.add(key, image, async (aside) => {
      await writeFile(join(aside, "memory"), "12345678");
      return { state: Buffer.from(state), memoryBytes: 8 };
    });

  it("finds what was added, whole, and nothing else", async () => {
    expect(await store.load("a", 8)).toBeUndefined();
    await add("a");
    expect(await store.load("a", 8)).toEqual({
      memoryPath: join(directory, "a/memory"),
      memoryBytes: 8,
      state: Buffer.from("state"),
    });
    await add("a", "v1", "newer");
    expect((await store.load("a", 8))?.state.toString()).toBe("newer");
    expect(await readdir(directory)).toEqual(["a"]);
  });

  it("leaves nothing when writing fails", async () => {
    const failing = store.add("a", "v1", async (aside) => {
      await writeFile(join(aside, "memory"), "1234");
      throw new Error("no more");
    });
    await expect(failing).rejects.toThrow("no more");
    expect(await readdir(directory)).toEqual([]);
  });

  it.each([
    ["state", async () => writeFile(join(directory, "a/state"), "other"), /SHA-256/],
    ["memory's size", async () => truncate(join(directory, "a/memory"), 7), /memory has 7 bytes, not 8/],
    ["manifest", async () => writeFile(join(directory, "a/manifest.json"), '{"version":2}'), /manifest/],
    ["missing memory", async () => rm(join(directory, "a/memory")), /ENOENT/],
  ])("says why one with a wrong %s is unusable", async (_what, spoil, why) => {
    await add("a");
    await spoil();
    await expect(store.load("a", 8)).rejects.toThrow(why);
  });

  it("removes other images' templates, broken ones and unfinished ones", async () => {
    await add("old", "v1");
    await add("new", "v2");
    await mkdir(join(directory, ".new-abc"));
    await mkdir(join(directory, "broken"));
    await store.prune("v2");
    expect(await readdir(directory)).toEqual(["new"]);
  });
});
