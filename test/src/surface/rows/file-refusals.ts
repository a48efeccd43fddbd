import { firstMessage, type Row, refused, type SurfaceZone } from "../row.js";
import { copyIn, copyOut, read, write } from "./file-calls.js";

const OUT_OF_RANGE = 2 ** 60;
const NOBODY = 2 ** 32 - 1;

/** The unary calls and streams of File, each with a request; what a table of refusals is made of. */
const calls = {
  Stat: (zone: SurfaceZone, request: object) => zone.bridge.file.stat(request, zone.in()),
  ReadDirectory: (zone: SurfaceZone, request: object) => zone.bridge.file.readDirectory(request, zone.in()),
  Read: (zone: SurfaceZone, request: object) => read(zone, request),
  Write: (zone: SurfaceZone, request: object) => write(zone, request, "new"),
  MakeDirectory: (zone: SurfaceZone, request: object) => zone.bridge.file.makeDirectory(request, zone.in()),
  MakeLink: (zone: SurfaceZone, request: object) => zone.bridge.file.makeLink(request, zone.in()),
  Remove: (zone: SurfaceZone, request: object) => zone.bridge.file.remove(request, zone.in()),
  Move: (zone: SurfaceZone, request: object) => zone.bridge.file.move(request, zone.in()),
  SetAttributes: (zone: SurfaceZone, request: object) => zone.bridge.file.setAttributes(request, zone.in()),
  Watch: (zone: SurfaceZone, request: object) => firstMessage(zone.bridge.file.watch(request, zone.in())),
  CopyIn: (zone: SurfaceZone, request: object) => copyIn(zone, request, Buffer.alloc(1024)),
  CopyOut: (zone: SurfaceZone, request: object) => copyOut(zone, request),
};
type Method = keyof typeof calls;

const messages: Partial<Record<Method, string>> = {
  Watch: "WatchFileRequest",
  Write: "WriteOpen",
  CopyIn: "CopyInOpen",
};
const messageOf = (method: Method) => messages[method] ?? `${method}Request`;
const pathOf = (method: Method) => (method === "Move" ? { from: "/bin", to: "/x" } : { path: "/bin", target: "x" });
const methods = Object.keys(calls) as Method[];

/** [method, field, reason, what is wrong, the request's difference to that of container "main"]. */
type Refusal = readonly [Method, string, string, string, object];

const wrong = ([method, field, reason, name, request]: Refusal): Row =>
  refused(`File.${method}`, field === "" ? [] : [`${messageOf(method)}.${field}`], reason, name, (zone) =>
    calls[method](zone, { containerId: "main", ...pathOf(method), ...request }),
  );

const anywhere: Refusal[] = [
  ["Stat", "path", "FILE_NOT_FOUND", "a path that is not there", { path: "/none" }],
  ["ReadDirectory", "path", "NOT_A_DIRECTORY", "a file", { path: "/etc/hosts" }],
  ["Read", "path", "IS_A_DIRECTORY", "a directory", {}],
  ["Read", "path", "NOT_A_FILE", "a device", { path: "/dev/zero" }],
  ["Read", "offset", "INVALID_SIZE", "an offset that cannot be counted", { path: "/etc/hosts", offset: OUT_OF_RANGE }],
  ["Read", "length", "INVALID_SIZE", "a length that cannot be counted", { path: "/etc/hosts", length: OUT_OF_RANGE }],
  ["Write", "path", "IS_A_DIRECTORY", "a directory", {}],
  ["Write", "path", "NOT_A_FILE", "a device", { path: "/dev/null" }],
  ["Write", "path", "FILE_NOT_FOUND", "a file in no directory", { path: "/none/file" }],
  ["Write", "path", "INVALID_PATH", "a name that is too long", { path: `/${"x".repeat(256)}` }],
  ["Write", "mode", "INVALID_MODE", "more than permission bits", { path: "/new", mode: 0o10000 }],
  ["Write", "uid", "INVALID_MODE", "no user", { path: "/new", uid: NOBODY }],
  ["Write", "gid", "INVALID_MODE", "no group", { path: "/new", gid: NOBODY }],
  ["Write", "offset", "INVALID_SIZE", "an offset and the end at once", { path: "/new", offset: 1, append: true }],
  ["Write", "size", "INVALID_SIZE", "fewer bytes than it says", { path: "/new", size: 4 }],
  ["MakeDirectory", "path", "FILE_EXISTS", "a name that is taken", {}],
  ["MakeDirectory", "path", "READ_ONLY_FS", "a folder in sysfs", { path: "/sys/new" }],
  ["MakeDirectory", "path", "FILE_DENIED", "a folder where the kernel has none", { path: "/dev/pts/new" }],
  ["MakeDirectory", "mode", "INVALID_MODE", "more than permission bits", { path: "/new", mode: 0o10000 }],
  ["MakeDirectory", "uid", "INVALID_MODE", "no user", { path: "/new", uid: NOBODY }],
  ["MakeDirectory", "gid", "INVALID_MODE", "no group", { path: "/new", gid: NOBODY }],
  ["MakeLink", "path", "FILE_EXISTS", "a name that is taken", {}],
  ["MakeLink", "target", "INVALID_PATH", "an empty target", { path: "/new", target: "" }],
  ["MakeLink", "target", "FILE_NOT_FOUND", "another name for nothing", { path: "/new", target: "/none", hard: true }],
  ["Remove", "path", "FILE_NOT_FOUND", "what is not there", { path: "/none" }],
  ["Remove", "path", "DIRECTORY_NOT_EMPTY", "a directory that has something in it", { path: "/etc" }],
  ["Remove", "path", "INVALID_PATH", "the root", { path: "/", recursive: true }],
  ["Move", "from", "FILE_NOT_FOUND", "what is not there", { from: "/none" }],
  ["Move", "to", "NOT_A_DIRECTORY", "a path through a file", { to: "/etc/hosts/x" }],
  ["SetAttributes", "path", "FILE_NOT_FOUND", "what is not there", { path: "/none" }],
  ["SetAttributes", "mode", "INVALID_MODE", "more than permission bits", { mode: 0o10000 }],
  ["SetAttributes", "uid", "INVALID_MODE", "no user", { uid: NOBODY }],
  ["SetAttributes", "gid", "INVALID_MODE", "no group", { gid: NOBODY }],
  ["SetAttributes", "modified_at", "INVALID_SIZE", "a second that is too long", { modifiedAt: { nanos: 1e9 } }],
  ["SetAttributes", "accessed_at", "INVALID_SIZE", "a second that is too long", { accessedAt: { nanos: -1 } }],
  ["Watch", "path", "FILE_NOT_FOUND", "what is not there", { path: "/none" }],
  ["CopyIn", "path", "NOT_A_DIRECTORY", "a file", { path: "/etc/hosts" }],
  ["CopyIn", "uid", "INVALID_MODE", "no user", { path: "/tmp", uid: NOBODY }],
  ["CopyIn", "gid", "INVALID_MODE", "no group", { path: "/tmp", gid: NOBODY }],
  ["CopyOut", "path", "FILE_NOT_FOUND", "what is not there", { path: "/none" }],
  ["CopyOut", "name", "INVALID_PATH", "a name that leads out", { name: "../x" }],
];

/** What each call of File refuses by a look at its request, or at what every container has. */
export const fileRefusals: Row[] = [
  ...methods.map((method) =>
    wrong([method, "container_id", "CONTAINER_UNKNOWN", "an unknown container", { containerId: "none" }]),
  ),
  ...methods.map((method) => {
    const [field, request] = method === "Move" ? ["from", { from: "x" }] : ["path", { path: "x", target: "y" }];
    return wrong([method, field as string, "INVALID_PATH", "a relative path", request as object]);
  }),
  ...anywhere.map(wrong),
];
