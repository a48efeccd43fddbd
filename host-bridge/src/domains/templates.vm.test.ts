import { createHash } from "node:crypto";
import { mkdir, open, readdir, readFile, readlink, rm, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { MNT_DETACH, mount, unmount } from "@zone/native";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { WarmUp } from "./driver.js";
import { DriverScratch, running } from "./testing/driver-scratch.js";
import { makeGuestImage, zoneImageDirectory } from "./testing/guest-image.js";
import { GuestLink, warmUpGuest } from "./testing/guest-link.js";

const root = process.getuid?.() === 0;
const BOOTING = "booting a zone of 128 MiB to clone from";

describe.skipIf(zoneImageDirectory() === undefined)("templates", () => {
  let scratch: DriverScratch;
  let templates: string;
  beforeAll(async () => {
    scratch = await DriverScratch.make();
    templates = join(scratch.directory, "state/templates");
  });
  afterEach(async () => {
    await scratch.destroyDomains();
    expect(await scratch.leftovers()).toEqual([]);
  });
  afterAll(() => scratch.remove());

  /** What creating a domain with a new driver, which has nothing in memory, tells of its progress; the domain answers. */
  async function progressOf(driver = scratch.driver()): Promise<string[]> {
    const messages: string[] = [];
    const domain = await scratch.create(driver, {}, (_phase, message) => messages.push(message));
    await running(domain);
    await domain.destroy();
    return messages;
  }

  async function onlyTemplate(): Promise<string> {
    const names = await readdir(templates);
    expect(names).toHaveLength(1);
    return join(templates, names[0] ?? "");
  }

  it("are made once, by whoever asks first, and found again by later bridges", async () => {
    let boots = 0;
    const warmUp: WarmUp = (link, signal) => {
      boots++;
      return warmUpGuest(link, signal);
    };
    const driver = scratch.driver({ warmUp });
    await Promise.all(Array.from({ length: 5 }, async () => running(await scratch.create(driver))));
    expect(boots).toBe(1);
    expect(await progressOf()).toEqual([]);
  });

  it.each([
    ["its state is cut short", (path: string) => truncate(join(path, "state"), 1000)],
    ["its memory is cut short", (path: string) => truncate(join(path, "memory"), 4096)],
    ["its manifest is garbage", (path: string) => writeFile(join(path, "manifest.json"), "{")],
    ["a file is missing", (path: string) => rm(join(path, "memory"))],
  ])("are made again when %s", async (_what, spoil) => {
    await progressOf();
    await spoil(await onlyTemplate());
    expect(await progressOf()).toEqual([
      ...(_what.startsWith("its manifest")
        ? []
        : [expect.stringMatching(/^making the template again, it is unusable: /)]),
      BOOTING,
      "saving it",
    ]);
  });

  it("are made again when QEMU cannot load them", async () => {
    await progressOf();
    const path = await onlyTemplate();
    const state = Buffer.alloc(1000, "nonsense");
    const manifest = JSON.parse(await readFile(join(path, "manifest.json"), "utf8"));
    const stateSha256 = createHash("sha256").update(state).digest("hex");
    await writeFile(join(path, "state"), state);
    await writeFile(join(path, "manifest.json"), JSON.stringify({ ...manifest, stateSha256 }));
    expect(await progressOf()).toEqual([
      expect.stringMatching(/^making the template again: QEMU cannot load/),
      BOOTING,
      "saving it",
    ]);
  });

  it("cannot be changed by a VMM that runs from them", async () => {
    const { record } = await scratch.create(scratch.driver());
    const descriptors = await readdir(`/proc/${record.pid}/fd`);
    const targets = await Promise.all(descriptors.map((fd) => readlink(`/proc/${record.pid}/fd/${fd}`)));
    const memory = descriptors[targets.findIndex((target) => target.includes("memfd:zone-template-memory"))];
    const file = await open(`/proc/${record.pid}/fd/${memory}`, "r+");
    await expect(file.write("poison", 0)).rejects.toMatchObject({ code: "EPERM" });
    await expect(file.truncate(0)).rejects.toMatchObject({ code: "EPERM" });
    await file.close();
  });

  it("of another image are removed", async () => {
    await progressOf();
    const before = await onlyTemplate();
    const other = await makeGuestImage(zoneImageDirectory() ?? "", join(scratch.directory, "other"), "test-2");
    expect(await progressOf(scratch.driver({ imageDirectory: other }))).toEqual([BOOTING, "saving it"]);
    expect(await onlyTemplate()).not.toBe(before);
  });

  describe("that cannot be made", () => {
    const failing = (warmUp: WarmUp, bootTimeoutMs = 60_000) =>
      scratch.driver({ stateDirectory: join(scratch.directory, "failing"), warmUp, bootTimeoutMs });
    const hang: WarmUp = (_link, signal) =>
      new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(signal.reason)));

    it("say what the console said when the guest dies", async () => {
      const dies: WarmUp = async (uri, signal) => {
        const link = await GuestLink.open(uri, signal);
        await link.ask("panic");
      };
      await expect(scratch.create(failing(dies))).rejects.toMatchObject({
        code: "FAILED_PRECONDITION",
        reason: "BOOT_FAILED",
        message: expect.stringMatching(/^a zone did not boot: .*Attempted to kill init/),
      });
    });

    it("say so when the agent does not come up in time", async () => {
      await expect(scratch.create(failing(hang, 2_000))).rejects.toMatchObject({
        reason: "BOOT_FAILED",
        message: expect.stringContaining("its agent was not ready after 2 s"),
      });
    });

    it("leave nothing when everyone has given up", async () => {
      const stop = new AbortController();
      const progress = () => stop.abort(new Error("enough"));
      await expect(scratch.create(failing(hang), {}, progress, stop.signal)).rejects.toThrow("enough");
      expect(await readdir(join(scratch.directory, "failing/templates"))).toEqual([]);
    });

    it.runIf(root)("for want of space say so", async () => {
      const full = join(scratch.directory, "full");
      await mkdir(full);
      mount("tmpfs", full, "tmpfs", 0, "size=64m");
      try {
        await expect(scratch.create(scratch.driver({ stateDirectory: full }))).rejects.toMatchObject({
          code: "RESOURCE_EXHAUSTED",
          reason: "DISK_FULL",
          message: expect.stringContaining(full),
        });
      } finally {
        unmount(full, MNT_DETACH);
      }
    });
  });
});
