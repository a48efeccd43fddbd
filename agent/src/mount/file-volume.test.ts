import { existsSync, readdirSync, readFileSync, statSync, symlinkSync, unlinkSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { MountLab } from "./testing/lab.js";

let lab: MountLab;
beforeAll(async () => {
  lab = await MountLab.start();
});
afterAll(() => lab.end());

const file = (path: string, text: string, more: object = {}) => ({ path, data: Buffer.from(text), ...more });
const read = (path: string) => readFileSync(lab.run("mounts", path), "utf8");

describe("files", () => {
  it("are there with their owners and modes, and are replaced as a whole", async () => {
    const files = [file("a", "1"), file("d/e/f", "2", { mode: 0o600, uid: 1000, gid: 1001 }), file("gone", "3")];
    await lab.mounts.mount({ mount: { type: "files", target: "f", files, options: ["nosuid"] } });
    expect([read("f/a"), read("f/d/e/f")]).toEqual(["1", "2"]);
    const { mode, uid, gid } = statSync(lab.run("mounts/f/d/e/f"));
    expect([mode & 0o7777, uid, gid]).toEqual([0o600, 1000, 1001]);
    expect(statSync(lab.run("mounts/f/a")).mode & 0o7777).toBe(0o644);

    await lab.mounts.updateFiles({ target: "f", files: [file("a", "x".repeat(100_000)), file("d/other", "4")] });
    expect(readdirSync(lab.run("mounts/f")).filter((name) => !name.startsWith(".."))).toEqual(["a", "d"]);
    expect(readdirSync(lab.run("mounts/f/d"))).toEqual(["other"]);
    expect(read("f/a")).toHaveLength(100_000);
    for (let round = 0; round < 20; round++) {
      await lab.mounts.updateFiles({ target: "f", files: [file("a", "y".repeat(100_000 - round))] });
    }
    // The present version, the one before it, and the link.
    expect(readdirSync(lab.run("mounts/f"))).toHaveLength(4);
    expect(Number((await lab.mounts.stats({ target: "f" })).totalBytes)).toBeLessThan(1 << 20);
    await lab.mounts.updateFiles({ target: "f", files: [] });
    expect(existsSync(lab.run("mounts/f/a"))).toBe(false);
    await lab.mounts.unmount({ target: "f" });
  });

  it("never mix the old and the new for who reads them", async () => {
    const version = (n: number) => [file("a", `${n}\n`), file("b", `${n}\n`)];
    await lab.mounts.mount({ mount: { type: "files", target: "f", files: version(0) } });
    // What it finds by one look at ..data is of one version; that goes when two updates have come since, and it looks again.
    const script = `cd ${lab.run("mounts/f")}; while [ ! -e stop ]; do
      cat a > /dev/null || echo missing
      cd -P ${lab.run("mounts/f")}/..data && { read x < a && read y < b; } 2>/dev/null && [ "$x" != "$y" ] && echo torn
      cd ${lab.run("mounts/f")}; done; echo done`;
    const reader = lab.agent.shell(script);
    await reader.opened;
    for (let n = 1; n < 150; n++) await lab.mounts.updateFiles({ target: "f", files: version(n) });
    await lab.mounts.updateFiles({ target: "f", files: [...version(150), file("stop", "")] });
    const result = await reader.result;
    expect(result.stdout.toString()).toBe("done\n");
    await lab.mounts.unmount({ target: "f", lazy: true });
  });

  it("survive what a container does to them", async () => {
    await lab.mounts.mount({ mount: { type: "files", target: "f", files: [file("a", "1")] } });
    const outside = lab.run("outside");
    writeFileSync(outside, "untouched");
    unlinkSync(lab.run("mounts/f/..data"));
    symlinkSync(lab.run(), lab.run("mounts/f/..data"));
    symlinkSync(outside, lab.run("mounts/f/..data_tmp"));
    symlinkSync(lab.run(), lab.run("mounts/f/..77"));
    unlinkSync(lab.run("mounts/f/a"));
    symlinkSync(outside, lab.run("mounts/f/a"));
    await lab.mounts.updateFiles({ target: "f", files: [file("a", "2"), file("b", "3")] });
    expect([read("f/a"), read("f/b"), readFileSync(outside, "utf8")]).toEqual(["2", "3", "untouched"]);
    await lab.mounts.unmount({ target: "f" });
  });

  it("are refused with what is wrong, and leave nothing", async () => {
    const mount = (files: object[], more: object = {}) =>
      lab.mounts.mount({ mount: { type: "files", target: "g", files, ...more } });
    await expect(mount([file("../x", "")])).rejects.toMatchObject({ reason: "INVALID_FILES" });
    await expect(mount([file("", "")])).rejects.toMatchObject({ reason: "INVALID_FILES" });
    await expect(mount([file("a", "x".repeat(3 * 1024 * 1024 + 1))])).rejects.toMatchObject({
      reason: "FILES_TOO_LARGE",
    });
    await expect(mount([], { options: ["size=1m"] })).rejects.toMatchObject({ reason: "INVALID_MOUNT" });
    await expect(lab.mounts.updateFiles({ target: "g", files: [] })).rejects.toMatchObject({ reason: "MOUNT_UNKNOWN" });
    await lab.mounts.mount({ mount: { type: "tmpfs", target: "t" } });
    await expect(lab.mounts.updateFiles({ target: "t", files: [] })).rejects.toMatchObject({ reason: "INVALID_MOUNT" });
    await lab.mounts.unmount({ target: "t" });
    expect(lab.mounted()).toEqual([]);
  });
});
