import { expect } from "vitest";
import { argv } from "../../harness/exec.js";
import { type Row, refused, type SurfaceZone, works } from "../row.js";
import { FOLDER, withFolder } from "./file-calls.js";
import { mountInfo, withMount } from "./mount-calls.js";
import { mountRefusals } from "./mount-refusals.js";
import { upkeepRows } from "./mount-upkeep.js";

const TARGET = `${FOLDER}/mount`;
/** Where the zone's volume is mounted in "main": ext4. */
const VOLUME = "/data";
const spec = (...fields: string[]) => fields.map((field) => `MountSpec.${field}`);

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
  works("Mount.Mount", spec("options"), "takes what is mounted below with rbind, and its flags to all of it", (zone) =>
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
  ...mountRefusals,
  works(
    "Mount.Unmount",
    ["UnmountRequest.container_id", "UnmountRequest.target", "UnmountRequest.lazy", "UnmountRequest.recursive"],
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
  ...upkeepRows,
];
