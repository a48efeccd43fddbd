import { execFileSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readFileSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { BareZone, missingForZones } from "./testing/bare-zone.js";

const repository = (path: string) => fileURLToPath(new URL(`../../${path}`, import.meta.url));
const IMAGE = process.env.ZONE_IMAGE_DIR ?? repository(".cache/image/current");
const PROBE = repository("native/dist/testing/zone-probe.js");

/** The kernel's module, of the package that the image was built from. */
function loopModule(): string {
  if (!existsSync(join(IMAGE, "manifest.json"))) return "";
  const { kernelRelease } = JSON.parse(readFileSync(join(IMAGE, "manifest.json"), "utf8")) as { kernelRelease: string };
  return repository(`.cache/kernel/debian/lib/modules/${kernelRelease}/kernel/drivers/block/loop.ko`);
}

const needed = [PROBE, loopModule(), "/usr/bin/fsck.erofs", "/usr/sbin/mkfs.ext4"];
const missing = [...missingForZones, ...needed.filter((path) => !existsSync(path))].join(", ");

describe.skipIf(missing)(`the addon in a zone (needs ${missing || "what is there"})`, { timeout: 300_000 }, () => {
  let zone: BareZone;
  let disk: string;
  beforeAll(() => {
    zone = BareZone.make("");
    // The image's root, with this build's addon and the probe in the place of the agent.
    const root = join(zone.dir, "image");
    execFileSync("fsck.erofs", [`--extract=${root}`, "--no-preserve-owner", join(IMAGE, "root.erofs")], {
      stdio: "ignore",
    });
    cpSync(repository("native/dist"), join(root, "usr/lib/zone/native"), { recursive: true });
    cpSync(repository("native/build/zone.node"), join(root, "usr/lib/zone/native/zone.node"));
    writeFileSync(join(root, "usr/lib/zone/native/package.json"), '{"type":"module"}');
    writeFileSync(join(root, "usr/lib/zone/agent.mjs"), 'import "./native/testing/zone-probe.js";\n');
    cpSync("/bin/busybox", join(root, "bin/busybox"));
    for (const name of ["sh", "losetup"]) symlinkSync("busybox", join(root, "bin", name));
    mkdirSync(join(root, "modules"));
    cpSync(loopModule(), join(root, "modules/loop.ko"));
    const image = join(root, "ext4.img");
    writeFileSync(image, "");
    truncateSync(image, 16 << 20);
    execFileSync("mkfs.ext4", ["-q", image, "8M"]);
    disk = join(zone.dir, "probe.erofs");
    execFileSync("mkfs.erofs", [disk, root], { stdio: "ignore" });
  }, 300_000);
  afterAll(() => zone?.remove());

  it("does on the zone's kernel what it says", async () => {
    const { console, status } = await zone.boot({ disk, memoryMiB: 512 });
    expect(status, console).toBe(0);
    expect(console).toContain("probe end");
    const said = [...console.matchAll(/^probe (\w+): (.*?)\r?$/gm)].map(([, name, text]) => `${name} ${text}`);
    expect(said, console).toEqual([
      ...["mounts", "overlay", "netlink", "devices", "seccomp", "growing", "files", "system"].map(
        (name) => `${name} works`,
      ),
      "descriptors none left",
    ]);
  });
});
