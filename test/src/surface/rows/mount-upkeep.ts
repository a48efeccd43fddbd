import { createHash } from "node:crypto";
import { expect } from "vitest";
import { type Row, refused, works } from "../row.js";
import { FOLDER, stat, withFolder } from "./file-calls.js";
import { withMount } from "./mount-calls.js";
import { mountCalls } from "./mount-refusals.js";

const TARGET = `${FOLDER}/mount`;
const OUT_OF_RANGE = 2 ** 60;
/** Where the zone's volume is mounted in "main": ext4. */
const VOLUME = "/data";
/** A volume that is plugged in while the zone runs; its disk's serial is made of its name (docs/volumes.md). */
const LATE = "surface-late";
const LATE_SERIAL = `v${createHash("sha256").update(LATE).digest("hex").slice(0, 19)}`;

const spec = (...fields: string[]) => fields.map((field) => `MountSpec.${field}`);
const point = (message: string) => [`${message}.container_id`, `${message}.target`];

/** Cases of what is done to a whole file system, or to its content. */
export const upkeepRows: Row[] = [
  works(
    "Mount.Freeze",
    [...point("FreezeMountRequest"), ...point("ThawMountRequest")],
    "stops writers until Thaw",
    async (zone) => {
      const at = { containerId: "main", target: VOLUME };
      await zone.bridge.mount.freeze(at, zone.in());
      const writing = zone.out(
        `(echo > ${VOLUME}/late) & until grep -q 'State:.D' /proc/$!/status; do :; done
         touch /waits; wait; rm ${VOLUME}/late /waits; echo written`,
      );
      try {
        await expect.poll(() => stat(zone, "/waits"), { timeout: 60_000 }).toBeDefined();
        await expect(zone.bridge.mount.freeze(at, zone.in())).rejects.toMatchObject({ reason: "MOUNT_BUSY" });
        await expect(zone.bridge.mount.unmount(at, zone.in())).rejects.toMatchObject({ reason: "MOUNT_BUSY" });
      } finally {
        await zone.bridge.mount.thaw(at, zone.in());
      }
      expect(await writing).toBe("written");
    },
  ),
  works("Mount.Thaw", point("ThawMountRequest"), "of what is not frozen is no error", async (zone) => {
    await zone.bridge.mount.thaw({ containerId: "main", target: VOLUME }, zone.in());
  }),
  works(
    "Mount.Trim",
    [...point("TrimMountRequest"), "TrimMountRequest.minimum_bytes"],
    "gives free space back, in extents of a size",
    async (zone) => {
      const at = { containerId: "main", target: VOLUME };
      const { totalBytes } = await zone.bridge.mount.stats(at, zone.in());
      for (const minimumBytes of [0, 1 << 20]) {
        const { trimmedBytes } = await zone.bridge.mount.trim({ ...at, minimumBytes }, zone.in());
        expect(trimmedBytes).toBeLessThan(Number(totalBytes));
      }
    },
  ),
  ...[2 ** 40, OUT_OF_RANGE].map((minimumBytes) =>
    refused(
      "Mount.Trim",
      ["TrimMountRequest.minimum_bytes"],
      "INVALID_MOUNT",
      `extents of ${minimumBytes} bytes`,
      (zone) => zone.bridge.mount.trim({ containerId: "main", target: VOLUME, minimumBytes }, zone.in()),
    ),
  ),
  works("Mount.Stats", point("MountStatsRequest"), "counts a file system's bytes and inodes", async (zone) => {
    const stats = await zone.bridge.mount.stats({ containerId: "main", target: VOLUME }, zone.in());
    expect(stats).toMatchObject({ type: "ext4", readOnly: false });
    const [blocks, free, size, inodes] = (await zone.out(`stat -f -c '%b %f %S %c' ${VOLUME}`)).split(" ").map(Number);
    expect(stats).toMatchObject({
      totalBytes: Number(blocks) * Number(size),
      usedBytes: (Number(blocks) - Number(free)) * Number(size),
      totalInodes: inodes,
    });
  }),
  works(
    "Mount.Resize",
    [...point("ResizeMountRequest"), ...spec("wait_ms", "source", "subdirectory")],
    "grows a disk's file system; the disk is one that comes while Mount waits for it",
    async (zone) => {
      const { volumes, zones, mount } = zone.bridge;
      const MIB = 1 << 20;
      await volumes.create({ name: LATE, sizeBytes: 32 * MIB });
      try {
        const disk = { type: "ext4", source: `serial:${LATE_SERIAL}`, target: "late", waitMs: 60_000 };
        const grows = async () => {
          const before = await mount.stats({ target: "late" }, zone.in());
          await volumes.resize({ name: LATE, sizeBytes: 96 * MIB });
          const after = await mount.resize({ target: "late" }, zone.in());
          expect(after.totalBytes).toBeGreaterThan(Number(before.totalBytes) + 48 * MIB);
          expect(await mount.stats({ target: "late" }, zone.in())).toMatchObject({ totalBytes: after.totalBytes });
        };
        await Promise.all([
          withMount(zone, disk, grows, ""),
          zones.attachVolume({ zone: zone.id, volume: { name: LATE }, target: "/late" }),
        ]);
        await zones.detachVolume({ zone: zone.id, volume: LATE });
        await zone.out("rmdir /late");
      } finally {
        await volumes.remove({ name: LATE });
      }
    },
  ),
  ...(["Freeze", "Trim", "Resize"] as const).map((name) =>
    refused(`Mount.${name}`, [], "FS_UNSUPPORTED", "a file system that cannot do that", (zone) =>
      withFolder(zone, () =>
        withMount(zone, { type: "tmpfs", target: TARGET }, async () => {
          await mountCalls[name](zone, { containerId: "main", target: TARGET });
        }),
      ),
    ),
  ),
  works(
    "Mount.UpdateFiles",
    [...point("UpdateFilesRequest"), "UpdateFilesRequest.files"],
    "replaces the files as a whole, of a read-only mount too",
    (zone) =>
      withFolder(zone, async () => {
        const text = (path: string, data: string) => ({ path, data: Buffer.from(data) });
        const old = [text("a", "1"), text("b/c", "2")];
        await withMount(zone, { type: "files", target: TARGET, options: ["ro"], files: old }, async () => {
          const update = (files: object[]) =>
            zone.bridge.mount.updateFiles({ containerId: "main", target: TARGET, files }, zone.in());
          await update([text("b/d", "3")]);
          expect(await zone.out(`cd ${TARGET}; ls; ls b; cat b/d`)).toBe("b\nd\n3");
          await expect(update([text("../x", "4")])).rejects.toMatchObject({ reason: "INVALID_FILES" });
          expect(await zone.out(`cat ${TARGET}/b/d`)).toBe("3");
        });
      }),
  ),
  refused("Mount.UpdateFiles", ["UpdateFilesRequest.files"], "INVALID_FILES", "a file of an absolute path", (zone) =>
    zone.bridge.mount.updateFiles({ containerId: "main", target: VOLUME, files: [{ path: "/x" }] }, zone.in()),
  ),
  refused("Mount.UpdateFiles", [], "INVALID_MOUNT", "a mount of another type", (zone) =>
    zone.bridge.mount.updateFiles({ containerId: "main", target: VOLUME, files: [] }, zone.in()),
  ),
];
