import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ensureFileSystem, ensureModule, loadOrder } from "./modules.js";

const DEP = `kernel/fs/xfs/xfs.ko: kernel/lib/libcrc32c.ko kernel/crypto/crc32c_generic.ko
kernel/fs/fuse/virtio-fs.ko:
kernel/lib/libcrc32c.ko:
`;

describe("modules", () => {
  it("come after what they depend on", () => {
    expect(loadOrder(DEP, "xfs")).toEqual([
      "kernel/crypto/crc32c_generic.ko",
      "kernel/lib/libcrc32c.ko",
      "kernel/fs/xfs/xfs.ko",
    ]);
    for (const name of ["virtio_fs", "virtio-fs"])
      expect(loadOrder(DEP, name)).toEqual(["kernel/fs/fuse/virtio-fs.ko"]);
    expect(loadOrder(DEP, "btrfs")).toBeUndefined();
    fc.assert(fc.property(fc.string({ unit: "binary" }), fc.string(), (text, name) => void loadOrder(text, name)));
  });

  it("that are not there are none, and those that are no modules fail", () => {
    const directory = mkdtempSync(join(tmpdir(), "zone-modules-"));
    try {
      expect(ensureModule("xfs", directory)).toBe(false);
      writeFileSync(join(directory, "modules.dep"), "bad.ko:\n");
      expect(ensureModule("xfs", directory)).toBe(false);
      writeFileSync(join(directory, "bad.ko"), "no module");
      expect(() => ensureModule("bad", directory)).toThrow(/init_module/);
      expect(ensureFileSystem("tmpfs", directory)).toBe(true);
      expect(ensureFileSystem("nosuchfs", directory)).toBe(false);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});
