import { createHash } from "node:crypto";
import { expect } from "vitest";
import { argv } from "../../harness/exec.js";
import { type Row, refused, type SurfaceZone, works } from "../row.js";
import { FOLDER, stat, withFolder } from "./file-calls.js";
import { mountInfo, withMount } from "./mount-calls.js";

const TARGET = `${FOLDER}/mount`;
const OUT_OF_RANGE = 2 ** 60;
const NOBODY = 2 ** 32 - 1;
/** Where the zone's volume is mounted in "main": ext4. */
const VOLUME = "/data";
/** A volume that is plugged in while the zone runs; its disk's serial is made of its name (docs/volumes.md). */
const LATE = "surface-late";
const LATE_SERIAL = `v${createHash("sha256").update(LATE).digest("hex").slice(0, 19)}`;

const spec = (...fields: string[]) => fields.map((field) => `MountSpec.${field}`);
const point = (message: string) => [`${message}.container_id`, `${message}.target`];

/** A case that mounts something in a folder of "main". */
function mounts(
  fields: string[],
  name: string,
  mount: Parameters<typeof withMount>[1],
  see: (zone: SurfaceZone) => Promise<void>,
): Row {
  const all = ["MountRequest.container_id", "MountRequest.mount", ...spec("type", "target", ...fields)];
  return works("Mount.Mount", all, name, (zone) => withFolder(zone, () => withMount(zone, mount, () => see(zone))));
}

/** A mount that is refused, in "main" and at a place that is free unless `mount` says otherwise; it leaves nothing. */
function wrong(fields: string[], reason: string, name: string, mount: object, containerId = "main"): Row {
  const target = containerId === "" ? "wrong" : "/wrong/target";
  return refused(
    "Mount.Mount",
    fields,
    reason,
    name,
    (zone) => zone.bridge.mount.mount({ containerId, mount: { type: "tmpfs", target, ...mount } }, zone.in()),
    async (zone) => {
      if (containerId === "") {
        await expect(zone.bridge.mount.stats({ target }, zone.in())).rejects.toMatchObject({ reason: "MOUNT_UNKNOWN" });
      } else {
        const stat = zone.bridge.file.stat({ containerId: "main", path: "/wrong" }, zone.in());
        await expect(stat).rejects.toMatchObject({ reason: "FILE_NOT_FOUND" });
      }
    },
  );
}

const files = (...contents: object[]) => ({ type: "files", files: contents });

/** [fields, reason, what is wrong, the mount's difference to a tmpfs]. */
const wrongMounts: [fields: string[], reason: string, name: string, mount: object][] = [
  [["MountRequest.mount", ...spec("type")], "INVALID_MOUNT", "a type that there is not", { type: "vfat" }],
  [spec("type"), "FS_UNSUPPORTED", "a type that this kernel has not", { type: "9p", source: "tag" }],
  [spec("source"), "INVALID_MOUNT", "a disk without its serial", { type: "ext4", source: "/dev/vda" }],
  [spec("source"), "SOURCE_NOT_FOUND", "a bind of nothing", { type: "bind", source: "/none" }],
  [spec("source"), "SOURCE_NOT_FOUND", "a bind of no mount of the zone", { type: "bind", source: "zone:none" }],
  [spec("source"), "MOUNT_BUSY", "a disk that another file system has", { type: "ext4", source: "serial:w0" }],
  [spec("source", "wait_ms"), "DEVICE_NOT_FOUND", "no such disk", { type: "xfs", source: "serial:x", waitMs: 50 }],
  [spec("wait_ms"), "DEVICE_NOT_FOUND", "no such share", { type: "virtiofs", source: "none", waitMs: 50 }],
  [spec("wait_ms"), "INVALID_MOUNT", "a wait of more than two minutes", { waitMs: 120_001 }],
  [spec("target"), "INVALID_MOUNT", "a target with ..", { target: "/a/../b" }],
  [spec("target"), "INVALID_MOUNT", "the container's root", { target: "/" }],
  [spec("target"), "INVALID_MOUNT", "a file below a folder", { target: "/etc/hosts" }],
  [spec("target"), "TARGET_NOT_FOUND", "a target in a file", { target: "/bin/busybox/x" }],
  [spec("target"), "MOUNT_EXISTS", "a target that has a mount", { target: VOLUME }],
  [spec("options"), "INVALID_MOUNT", "an option that the kernel does not know", { options: ["size=1m", "foo=1"] }],
  [spec("options"), "INVALID_MOUNT", "an option of no name", { options: ["=1"] }],
  [spec("options"), "INVALID_MOUNT", "an overlay of nothing", { type: "overlay" }],
  [spec("subdirectory"), "INVALID_MOUNT", "a subdirectory that leads out", { subdirectory: "../x" }],
  [spec("subdirectory"), "INVALID_MOUNT", "a subdirectory of proc", { type: "proc", subdirectory: "sys" }],
  [spec("copy_up"), "INVALID_MOUNT", "a copy to proc", { type: "proc", copyUp: true }],
  [spec("files"), "INVALID_MOUNT", "files of a tmpfs", { files: [{ path: "a" }] }],
  [spec("files"), "INVALID_FILES", "a file twice", files({ path: "a" }, { path: "a" })],
  [["FileContent.path"], "INVALID_FILES", "a path that leads out", files({ path: "a/../../b" })],
  [["FileContent.path"], "INVALID_FILES", "the names that are the agent's own", files({ path: "..data" })],
  [["FileContent.data"], "FILES_TOO_LARGE", "more than 3 MiB", files({ path: "a", data: Buffer.alloc((3 << 20) + 1) })],
  [["FileContent.mode"], "INVALID_FILES", "more than permission bits", files({ path: "a", mode: 0o10000 })],
  [["FileContent.uid"], "INVALID_FILES", "no user", files({ path: "a", uid: NOBODY })],
  [["FileContent.gid"], "INVALID_FILES", "no group", files({ path: "a", gid: NOBODY })],
];

/** The calls about a mount that there is. */
const calls = {
  Unmount: (zone: SurfaceZone, at: object) => zone.bridge.mount.unmount(at, zone.in()),
  Freeze: (zone: SurfaceZone, at: object) => zone.bridge.mount.freeze(at, zone.in()),
  Thaw: (zone: SurfaceZone, at: object) => zone.bridge.mount.thaw(at, zone.in()),
  Trim: (zone: SurfaceZone, at: object) => zone.bridge.mount.trim(at, zone.in()),
  Stats: (zone: SurfaceZone, at: object) => zone.bridge.mount.stats(at, zone.in()),
  Resize: (zone: SurfaceZone, at: object) => zone.bridge.mount.resize(at, zone.in()),
  UpdateFiles: (zone: SurfaceZone, at: object) => zone.bridge.mount.updateFiles(at, zone.in()),
};
const messageOf = (name: string) =>
  ({ Unmount: "UnmountRequest", Stats: "MountStatsRequest", UpdateFiles: "UpdateFilesRequest" })[name] ??
  `${name}MountRequest`;
const onExisting = Object.entries(calls).flatMap(([name, call]): Row[] => {
  const [rpc, message] = [`Mount.${name}`, messageOf(name)];
  const at = (containerId: string, target: string) => (zone: SurfaceZone) => call(zone, { containerId, target });
  return [
    refused(rpc, [`${message}.container_id`], "CONTAINER_UNKNOWN", "an unknown container", at("none", VOLUME)),
    refused(rpc, [`${message}.target`], "MOUNT_UNKNOWN", "a place without a mount", at("main", "/etc")),
    refused(rpc, [`${message}.target`], "INVALID_MOUNT", "a path for a mount of the zone", at("", VOLUME)),
  ];
});

export const mountRows: Row[] = [
  works(
    "Mount.Mount",
    ["MountRequest.container_id", "MountRequest.mount", ...spec("type", "source", "target", "options")],
    "mounts what is the kernel's own, with the flags that it is told",
    (zone) =>
      withFolder(zone, async () => {
        for (const [type, options] of [
          ["tmpfs", ["size=1m", "mode=1777", "nosuid,nodev", "noexec", "noatime"]],
          ["proc", ["nosuid"]],
          ["sysfs", ["ro"]],
          ["devpts", ["noexec"]],
          ["mqueue", ["nodev"]],
          ["cgroup2", ["ro", "nosuid"]],
        ] as const) {
          const target = `${FOLDER}/${type}`;
          await withMount(zone, { type, source: "", target, options: [...options] }, async () => {
            const info = await mountInfo(zone, target);
            expect(info).toMatchObject({ type, source: type });
            const flags = options.flatMap((each) => each.split(",")).filter((each) => !each.includes("="));
            expect(info?.options).toEqual(expect.arrayContaining(flags));
            if (type !== "tmpfs") return;
            expect(info?.fsOptions).toContain("size=1024k");
            expect(await zone.out(`stat -c %a ${target}`)).toBe("1777");
          });
          expect(await mountInfo(zone, target)).toBeUndefined();
        }
      }),
  ),
  works(
    "Mount.Mount",
    spec("source", "options", "subdirectory"),
    "mounts in the zone, binds a folder of it into a container, read-only, and an overlay of two",
    (zone) => {
      const first = { type: "tmpfs", target: "first", options: ["size=1m"] };
      const inZone = async () => {
        const bind = { type: "bind", source: "zone:first", target: `${FOLDER}/all`, options: ["nosuid"] };
        await withMount(zone, bind, async () => {
          await zone.out(`cd ${FOLDER}/all; mkdir -p sub/low up work; echo low > sub/low/f`);
          const part = { ...bind, target: `${FOLDER}/part`, subdirectory: "sub/low", options: ["ro"] };
          await withMount(zone, part, async () => {
            expect(await zone.out(`cat ${FOLDER}/part/f; ! touch ${FOLDER}/part/f 2>/dev/null`)).toBe("low");
          });
          const layers = ["lowerdir=zone:first/sub/low:/etc", "upperdir=zone:first/up", "workdir=zone:first/work"];
          await withMount(zone, { type: "overlay", target: `${FOLDER}/over`, options: layers }, async () => {
            const script = `cd ${FOLDER}/over; cat f; test -e hosts; echo new > f; cat ../all/sub/low/f ../all/up/f`;
            expect(await zone.out(script)).toBe("low\nlow\nnew");
          });
        });
      };
      return withFolder(zone, () => withMount(zone, first, inZone, ""));
    },
  ),
  works(
    "Mount.Mount",
    spec("options"),
    "takes what is mounted below with rbind, and gives later mounts on unless it is private",
    (zone) =>
      withFolder(zone, async () => {
        const source = `${FOLDER}/source`;
        const bind = (name: string, ...options: string[]) => ({
          type: "bind",
          source,
          target: `${FOLDER}/${name}`,
          options,
        });
        await withMount(zone, { type: "tmpfs", target: source }, () =>
          withMount(zone, { type: "tmpfs", target: `${source}/below` }, async () => {
            await zone.out(`echo > ${source}/below/file`);
            await withMount(zone, bind("plain"), async () => {
              expect(await zone.out(`ls ${FOLDER}/plain/below`)).toBe("");
            });
            await withMount(zone, bind("all", "rbind", "rslave", "rro"), async () => {
              expect(await zone.out(`ls ${FOLDER}/all/below; ! touch ${FOLDER}/all/below/x 2>/dev/null`)).toBe("file");
            });
          }),
        );
      }),
  ),
  mounts(
    ["source", "options"],
    "mounts a disk by its serial",
    { type: "erofs", source: "serial:w0", target: TARGET },
    async (zone) => {
      expect(await zone.out(`cmp ${TARGET}/bin/busybox /bin/busybox; ! touch ${TARGET}/x 2>/dev/null`)).toBe("");
      expect(await mountInfo(zone, TARGET)).toMatchObject({ type: "erofs", fsOptions: expect.arrayContaining(["ro"]) });
    },
  ),
  works("Mount.Mount", spec("copy_up"), "copies what was at the target before", (zone) =>
    withFolder(zone, async () => {
      await zone.out(
        `mkdir -p ${TARGET}/sub; cd ${TARGET}; echo x > sub/f; chown 5:6 sub/f; chmod 4711 sub/f; ln -s f sub/l`,
      );
      await withMount(zone, { type: "tmpfs", target: TARGET, copyUp: true }, async () => {
        const script = `cd ${TARGET}; cat sub/f; stat -c '%a %u:%g' sub/f; readlink sub/l; rm -r sub`;
        expect(await zone.out(script)).toBe("x\n4711 5:6\nf");
      });
      expect(await zone.out(`ls ${TARGET}/sub`)).toBe("f\nl");
    }),
  ),
  mounts(
    ["files", "options"],
    "gives files of the request, as a folder",
    {
      type: "files",
      target: TARGET,
      options: ["ro", "noexec"],
      files: [
        { path: "a", data: Buffer.from("first"), mode: 0o4640, uid: 7, gid: 8 },
        { path: "deep/er", data: Buffer.from("second") },
      ],
    },
    async (zone) => {
      const script = `cd ${TARGET}; cat a deep/er; stat -Lc '%n %a %u:%g' a deep/er; ! touch x 2>/dev/null`;
      expect(await zone.out(script)).toBe("firstseconda 4640 7:8\ndeep/er 644 0:0");
    },
  ),
  works(
    "Mount.Mount",
    ["path", "data", "mode", "uid", "gid"].map((field) => `FileContent.${field}`),
    "gives one file as a file, which UpdateFiles cannot replace",
    (zone) =>
      withFolder(zone, async () => {
        const one = { path: "", data: Buffer.from("one"), mode: 0o400, uid: 1, gid: 2 };
        await withMount(zone, { type: "files", target: TARGET, files: [one] }, async () => {
          expect(await zone.out(`cat ${TARGET}; stat -c ' %a %u:%g' ${TARGET}`)).toBe("one 400 1:2");
          const update = { containerId: "main", target: TARGET, files: [one] };
          await expect(zone.bridge.mount.updateFiles(update, zone.in())).rejects.toMatchObject({
            reason: "FS_UNSUPPORTED",
          });
        });
      }),
  ),
  ...wrongMounts.map((each) => wrong(...each)),
  ...onExisting,
  refused("Mount.Mount", spec("target"), "READ_ONLY_FS", "a target that cannot be made", (zone) =>
    withFolder(zone, () =>
      withMount(zone, { type: "tmpfs", target: TARGET, options: ["ro"] }, () =>
        withMount(zone, { type: "tmpfs", target: `${TARGET}/new` }, async () => {}),
      ),
    ),
  ),
  wrong(["MountRequest.container_id"], "CONTAINER_UNKNOWN", "an unknown container", {}, "none"),
  wrong(["MountRequest.container_id"], "INVALID_ID", "a container's id that is none", {}, "../x"),
  wrong(spec("target"), "INVALID_MOUNT", "a path for a mount of the zone", { target: "/x" }, ""),

  works(
    "Mount.Unmount",
    [...point("UnmountRequest"), "UnmountRequest.lazy", "UnmountRequest.recursive"],
    "leaves a mount that is in use, unless it is lazy; and takes what is below it when it is told to",
    (zone) =>
      withFolder(zone, async () => {
        const unmount = (how: object) =>
          zone.bridge.mount.unmount({ containerId: "main", target: TARGET, ...how }, zone.in());
        const mount = (target: string) =>
          zone.bridge.mount.mount({ containerId: "main", mount: { type: "tmpfs", target } }, zone.in());
        await mount(TARGET);
        await mount(`${TARGET}/below`);
        await expect(unmount({})).rejects.toMatchObject({ reason: "MOUNT_BUSY" });
        await unmount({ recursive: true });
        expect(await mountInfo(zone, TARGET)).toBeUndefined();
        await mount(TARGET);
        const user = { id: "user", containerId: "main", cwd: TARGET, argv: argv("/bin/sleep", "1000") };
        await zone.bridge.process_.start({ spec: user }, zone.in());
        await expect(unmount({})).rejects.toMatchObject({ reason: "MOUNT_BUSY" });
        await unmount({ lazy: true });
        expect(await mountInfo(zone, TARGET)).toBeUndefined();
        await zone.bridge.process_.signal({ id: user.id, signal: 9 }, zone.in());
        await zone.bridge.process_.wait({ id: user.id }, zone.in());
        await zone.bridge.process_.delete({ id: user.id }, zone.in());
      }),
  ),
  works(
    "Mount.List",
    ["ListMountsRequest.container_id"],
    "lists as the zone and as a container see it",
    async (zone) => {
      const volume = await mountInfo(zone, VOLUME);
      expect(volume).toMatchObject({ type: "ext4", options: expect.arrayContaining(["rw"]), root: "/data" });
      expect(volume?.device).toMatch(/^\d+:\d+$/);
      const { mounts: ofZone } = await zone.bridge.mount.list({}, zone.in());
      expect(ofZone.find(({ target }) => target === "/")).toMatchObject({ type: "erofs" });
      expect(ofZone.some(({ target }) => target === `/run/zone/containers/main/rootfs${VOLUME}`)).toBe(true);
    },
  ),
  refused("Mount.List", ["ListMountsRequest.container_id"], "CONTAINER_UNKNOWN", "an unknown container", (zone) =>
    zone.bridge.mount.list({ containerId: "none" }, zone.in()),
  ),
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
          await calls[name](zone, { containerId: "main", target: TARGET });
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
