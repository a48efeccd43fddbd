import { expect } from "vitest";
import { type Row, refused, type SurfaceZone } from "../row.js";
import { FOLDER, withFolder } from "./file-calls.js";
import { withMount } from "./mount-calls.js";

const TARGET = `${FOLDER}/mount`;
const NOBODY = 2 ** 32 - 1;
const VOLUME = "/data";

const spec = (...fields: string[]) => fields.map((field) => `MountSpec.${field}`);

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
  [spec("source", "wait_ms"), "DEVICE_NOT_FOUND", "no such disk", { type: "ext4", source: "serial:x", waitMs: 50 }],
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
export const mountCalls = {
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
const onExisting = Object.entries(mountCalls).flatMap(([name, call]): Row[] => {
  const [rpc, message] = [`Mount.${name}`, messageOf(name)];
  const at = (containerId: string, target: string) => (zone: SurfaceZone) => call(zone, { containerId, target });
  return [
    refused(rpc, [`${message}.container_id`], "CONTAINER_UNKNOWN", "an unknown container", at("none", VOLUME)),
    refused(rpc, [`${message}.target`], "MOUNT_UNKNOWN", "a place without a mount", at("main", "/etc")),
    refused(rpc, [`${message}.target`], "INVALID_MOUNT", "a path for a mount of the zone", at("", VOLUME)),
  ];
});

/** What Mount refuses by a look at its request, and each call about a place that has no mount. */
export const mountRefusals: Row[] = [
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
];
