import { expect } from "vitest";
import { firstMessage, type Row, refused, type SurfaceZone, works } from "../row.js";
import {
  collect,
  copyIn,
  copyOut,
  FileType,
  FOLDER,
  forge,
  read,
  send,
  stat,
  withFolder,
  write,
} from "./file-calls.js";

const OUT_OF_RANGE = 2 ** 60;
const NOBODY = 2 ** 32 - 1;

/** What such a case finds in FOLDER. The file's time is of whole seconds: its archive has no extended header. */
async function tree(zone: SurfaceZone): Promise<void> {
  await zone.out(
    `cd ${FOLDER}; mkdir full; echo in > full/file; echo text > file; touch -d 2001-02-03 file; mkfifo fifo; ln -s file link; ln -s loop loop`,
  );
}

/** A case in FOLDER, filled by tree(). */
function inTree(rpc: string, fields: string[], name: string, run: (zone: SurfaceZone) => Promise<void>): Row {
  return works(rpc, fields, name, (zone) =>
    withFolder(zone, async () => {
      await tree(zone);
      await run(zone);
    }),
  );
}

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

export const fileRows: Row[] = [
  ...methods.map((method) =>
    wrong([method, "container_id", "CONTAINER_UNKNOWN", "an unknown container", { containerId: "none" }]),
  ),
  ...methods.map((method) => {
    const [field, request] = method === "Move" ? ["from", { from: "x" }] : ["path", { path: "x", target: "y" }];
    return wrong([method, field as string, "INVALID_PATH", "a relative path", request as object]);
  }),
  ...anywhere.map(wrong),

  inTree(
    "File.Stat",
    ["StatRequest.container_id", "StatRequest.path", "StatRequest.follow"],
    "tells a file, a directory, a FIFO, a device, and a link from what it leads to",
    async (zone) => {
      await zone.out(`cd ${FOLDER}; chmod 4751 file; chown 7:8 file`);
      const inode = Number(await zone.out(`stat -c %i ${FOLDER}/file`));
      const file = {
        name: "file",
        type: FileType.FILE_TYPE_REGULAR,
        mode: 0o4751,
        uid: 7,
        gid: 8,
        size: 5,
        links: 1,
        inode,
      };
      // chown(1) has taken setuid away.
      expect(await stat(zone, `${FOLDER}/file`)).toMatchObject({ ...file, mode: 0o751 });
      expect(await stat(zone, `${FOLDER}/link`)).toMatchObject({
        type: FileType.FILE_TYPE_SYMLINK,
        linkTarget: "file",
      });
      expect(await stat(zone, `${FOLDER}/link`, true)).toMatchObject({ inode, type: FileType.FILE_TYPE_REGULAR });
      expect(await stat(zone, `${FOLDER}/fifo`)).toMatchObject({ type: FileType.FILE_TYPE_FIFO });
      expect(await stat(zone, "/dev/null")).toMatchObject({ type: FileType.FILE_TYPE_CHARACTER_DEVICE });
      const { file: ofZone } = await zone.bridge.file.stat({ path: "/usr/lib/zone/agent.mjs" }, zone.in());
      expect(ofZone).toMatchObject({ type: FileType.FILE_TYPE_REGULAR });
    },
  ),
  refused("File.Stat", [], "TOO_MANY_LINKS", "a link that leads to itself", async (zone) => {
    await withFolder(zone, async () => {
      await tree(zone);
      await stat(zone, `${FOLDER}/loop`, true);
    });
  }),
  inTree(
    "File.ReadDirectory",
    ["container_id", "path", "after", "limit"].map((field) => `ReadDirectoryRequest.${field}`),
    "gives the entries by name, in pages",
    async (zone) => {
      const page = async (after: string, limit: number) => {
        const request = { containerId: "main", path: FOLDER, after, limit };
        const { files, more } = await zone.bridge.file.readDirectory(request, zone.in());
        return [...files.map(({ name }) => name), more];
      };
      expect(await page("", 3)).toEqual(["fifo", "file", "full", true]);
      expect(await page("full", 3)).toEqual(["link", "loop", false]);
      expect(await page("", 0)).toEqual(["fifo", "file", "full", "link", "loop", false]);
    },
  ),
  inTree(
    "File.Read",
    ["container_id", "path", "offset", "length"].map((field) => `ReadRequest.${field}`),
    "reads all of a file or a part, through links, and what the kernel makes up",
    async (zone) => {
      const path = `${FOLDER}/link`;
      expect(await read(zone, { path })).toBe("text\n");
      expect(await read(zone, { path, offset: 1, length: 2 })).toBe("ex");
      expect(await read(zone, { path, offset: 5 })).toBe("");
      expect(await read(zone, { path: "/proc/version" })).toMatch(/^Linux version /);
      expect(await read(zone, { containerId: "", path: "/proc/1/comm" })).toBe("init\n");
    },
  ),

  inTree(
    "File.Write",
    [
      "WriteRequest.open",
      "WriteRequest.data",
      ...["container_id", "path", "mode", "uid", "gid", "exclusive"].map((field) => `WriteOpen.${field}`),
    ],
    "makes a file, and replaces one as a whole, which keeps its owner and mode",
    async (zone) => {
      const path = `${FOLDER}/new`;
      expect(await write(zone, { path, mode: 0o4640, uid: 3, gid: 4, exclusive: true }, "ab", "cd")).toBe(4);
      expect(await stat(zone, path)).toMatchObject({ mode: 0o4640, uid: 3, gid: 4, size: 4 });
      const { inode } = await stat(zone, path);
      expect(await write(zone, { path }, "other")).toBe(5);
      expect(await zone.out(`cat ${path}; ls ${FOLDER}`)).toBe("otherfifo\nfile\nfull\nlink\nloop\nnew");
      const replaced = await stat(zone, path);
      expect(replaced).toMatchObject({ mode: 0o4640, uid: 3, gid: 4 });
      expect(replaced.inode).not.toBe(inode);
    },
  ),
  inTree("File.Write", ["WriteOpen.offset", "WriteOpen.append"], "writes into a file, and to its end", async (zone) => {
    const path = `${FOLDER}/link`;
    const { inode } = await stat(zone, path, true);
    await write(zone, { path, offset: 1 }, "oas");
    await write(zone, { path, append: true }, "more", "\n");
    expect(await zone.out(`cat ${FOLDER}/file`)).toBe("toas\nmore");
    expect((await stat(zone, path, true)).inode).toBe(inode);
  }),
  inTree("File.Write", [], "changes nothing when it is cancelled", async (zone) => {
    const { requests, response } = zone.bridge.file.write(zone.in());
    requests.write({ open: { containerId: "main", path: `${FOLDER}/file` } });
    requests.write({ data: Buffer.from("half") }, () => requests.cancel());
    await expect(response).rejects.toMatchObject({ code: "CANCELLED" });
    expect(await zone.out(`cat ${FOLDER}/file`)).toBe("text");
  }),
  refused("File.Write", ["WriteRequest.open"], "OPEN_EXPECTED", "data before open", (zone) =>
    send(zone.bridge.file.write(zone.in()), { data: Buffer.from("x") }),
  ),
  refused(
    "File.Write",
    ["WriteRequest.data"],
    "INVALID_SIZE",
    "a message of more than 256 KiB",
    (zone) => write(zone, { path: "/big" }, Buffer.alloc(256 * 1024 + 1)),
    async (zone) => {
      await expect(stat(zone, "/big")).rejects.toMatchObject({ reason: "FILE_NOT_FOUND" });
    },
  ),
  refused("File.Write", ["WriteOpen.exclusive"], "FILE_EXISTS", "a file that is there", (zone) =>
    write(zone, { path: "/etc/hosts", exclusive: true }, "x"),
  ),
  works(
    "File.Write",
    [],
    "says NO_SPACE of a full file system, and removes what it wrote; Remove and Move keep to mounts",
    (zone) =>
      withFolder(zone, async () => {
        const target = `${FOLDER}/small`;
        const mount = { type: "tmpfs", target, options: ["size=64k"] };
        await zone.bridge.mount.mount({ containerId: "main", mount }, zone.in());
        try {
          await expect(write(zone, { path: `${target}/x` }, Buffer.alloc(1 << 17))).rejects.toMatchObject({
            reason: "NO_SPACE",
          });
          expect(await zone.out(`ls -A ${target}`)).toBe("");
          await write(zone, { path: `${target}/y` }, "y");
          const move = { containerId: "main", from: `${target}/y`, to: `${FOLDER}/y` };
          await expect(zone.bridge.file.move(move, zone.in())).rejects.toMatchObject({ reason: "CROSS_DEVICE" });
          const remove = { containerId: "main", path: target, recursive: true };
          await expect(zone.bridge.file.remove(remove, zone.in())).rejects.toMatchObject({ reason: "FILE_FAILED" });
        } finally {
          await zone.bridge.mount.unmount({ containerId: "main", target }, zone.in());
        }
      }),
  ),

  inTree(
    "File.MakeDirectory",
    ["container_id", "path", "mode", "parents", "uid", "gid"].map((field) => `MakeDirectoryRequest.${field}`),
    "makes a directory, with those that it lies in",
    async (zone) => {
      const request = { containerId: "main", path: `${FOLDER}/a/b/c`, parents: true, mode: 0o1777, uid: 5, gid: 6 };
      await zone.bridge.file.makeDirectory(request, zone.in());
      await zone.bridge.file.makeDirectory(request, zone.in());
      expect(await zone.out(`cd ${FOLDER}; stat -c '%a %u:%g' a/b/c a/b`)).toBe("1777 5:6\n755 5:6");
    },
  ),
  inTree(
    "File.MakeLink",
    ["container_id", "path", "target", "hard"].map((field) => `MakeLinkRequest.${field}`),
    "makes symbolic links of any text, and hard ones",
    async (zone) => {
      const link = (name: string, target: string, hard: boolean) =>
        zone.bridge.file.makeLink({ containerId: "main", path: `${FOLDER}/${name}`, target, hard }, zone.in());
      await link("soft", "../any text", false);
      await link("hard", `${FOLDER}/file`, true);
      expect(await zone.out(`cd ${FOLDER}; readlink soft; stat -c %h hard; cat hard`)).toBe("../any text\n2\ntext");
      await expect(link("folder", `${FOLDER}/full`, true)).rejects.toMatchObject({ reason: "IS_A_DIRECTORY" });
    },
  ),
  inTree(
    "File.Remove",
    ["container_id", "path", "recursive", "force"].map((field) => `RemoveRequest.${field}`),
    "removes a link, not what it leads to; a directory with what is in it; and with force what is not there",
    async (zone) => {
      const remove = (name: string, how: object) =>
        zone.bridge.file.remove({ containerId: "main", path: `${FOLDER}/${name}`, ...how }, zone.in());
      await remove("link", {});
      await remove("full", { recursive: true });
      await remove("none", { force: true });
      expect(await zone.out(`ls ${FOLDER}`)).toBe("fifo\nfile\nloop");
    },
  ),
  inTree(
    "File.Move",
    ["container_id", "from", "to", "exclusive"].map((field) => `MoveRequest.${field}`),
    "renames, over what is there unless that is to stay",
    async (zone) => {
      const move = (from: string, to: string, exclusive: boolean) =>
        zone.bridge.file.move(
          { containerId: "main", from: `${FOLDER}/${from}`, to: `${FOLDER}/${to}`, exclusive },
          zone.in(),
        );
      await move("full", "moved", true);
      await expect(move("file", "moved/file", true)).rejects.toMatchObject({ reason: "FILE_EXISTS" });
      await move("file", "moved/file", false);
      expect(await zone.out(`cd ${FOLDER}; ls; cat moved/file`)).toBe("fifo\nlink\nloop\nmoved\ntext");
      await expect(move("moved", "moved/in", false)).rejects.toMatchObject({ reason: "INVALID_PATH" });
    },
  ),
  inTree(
    "File.SetAttributes",
    ["container_id", "path", "follow", "mode", "uid", "gid", "modified_at", "accessed_at"].map(
      (field) => `SetAttributesRequest.${field}`,
    ),
    "sets mode, owner and times, of a link or of what it leads to, and leaves the rest",
    async (zone) => {
      const set = (name: string, what: object) =>
        zone.bridge.file.setAttributes({ containerId: "main", path: `${FOLDER}/${name}`, ...what }, zone.in());
      const times = { modifiedAt: { seconds: 1e9, nanos: 5 }, accessedAt: { seconds: 2e9, nanos: 6 } };
      await set("link", { follow: true, mode: 0o4700, uid: 11, ...times });
      await set("link", { gid: 12 });
      expect(await stat(zone, `${FOLDER}/file`)).toMatchObject({ mode: 0o4700, uid: 11, gid: 0, ...times });
      expect(await stat(zone, `${FOLDER}/link`)).toMatchObject({ uid: 0, gid: 12, mode: 0o777 });
      await set("file", { gid: 13 });
      expect(await stat(zone, `${FOLDER}/file`)).toMatchObject({ mode: 0o4700, uid: 11, gid: 13, ...times });
      await expect(set("link", { mode: 0o600 })).rejects.toMatchObject({ reason: "INVALID_MODE" });
    },
  ),
  inTree(
    "File.Watch",
    ["WatchFileRequest.container_id", "WatchFileRequest.path"],
    "tells of each kind of change, and ends with what it watches",
    async (zone) => {
      const path = `${FOLDER}/full`;
      const call = zone.bridge.file.watch({ containerId: "main", path }, zone.in());
      const seen: string[] = [];
      let changes: Promise<string> | undefined;
      for await (const { subscribed, changed } of call) {
        if (subscribed)
          changes = zone.out(`cd ${path}; echo > new; chmod 600 new; mv new old; rm old file; cd ..; rmdir full`);
        if (changed) seen.push(`${changed.name} ${changed.change}`);
      }
      await changes;
      expect(seen).toEqual([
        ...["new created", "new modified", "new attributes", "new moved", "old moved"],
        ...["old removed", "file removed", " removed"],
      ]);
    },
  ),

  inTree(
    "File.CopyOut",
    [
      ...["container_id", "path", "follow", "name"].map((field) => `CopyOutRequest.${field}`),
      ...["open", "data"].map((field) => `CopyInRequest.${field}`),
      ...["container_id", "path", "uid", "gid"].map((field) => `CopyInOpen.${field}`),
    ],
    "gives what CopyIn takes: owners, modes, times, links, FIFOs and holes",
    async (zone) => {
      await zone.out(
        `cd ${FOLDER}; truncate -s 9M hole; echo end >> hole; ln file hard; chown 7:8 file; chmod 6751 file
         touch -d 2001-02-03 full/file full; mkdir ../case/to ../case/mine`,
      );
      const { root, archive } = await copyOut(zone, { path: FOLDER, name: "." });
      expect(root).toMatchObject({ name: "case", type: FileType.FILE_TYPE_DIRECTORY });
      expect(archive.length).toBeLessThan(1 << 16);
      expect(await copyIn(zone, { path: `${FOLDER}/to` }, archive)).toMatchObject({ entries: 10 });
      const list = "for f in fifo file full full/file hard hole link loop; do stat -c '%N %a %u:%g %h %Y %s' $f; done";
      const same = await zone.out(`cd ${FOLDER}; ${list}`);
      expect(await zone.out(`cd ${FOLDER}/to; ${list}`)).toBe(same);
      expect(await zone.out(`cd ${FOLDER}; cmp hole to/hole; stat -c %b to/hole`)).toMatch(/^[0-9]{1,2}$/);

      const one = await copyOut(zone, { path: `${FOLDER}/link`, follow: true, name: "sub/renamed" });
      expect(one.root).toMatchObject({ type: FileType.FILE_TYPE_REGULAR, size: 5 });
      await copyIn(zone, { path: `${FOLDER}/mine`, uid: 21, gid: 22 }, one.archive);
      expect(await zone.out(`cd ${FOLDER}/mine; stat -c '%n %a %u:%g' sub/renamed`)).toBe("sub/renamed 6751 21:22");
    },
  ),
  inTree(
    "File.CopyIn",
    ["CopyInOpen.no_replace_types"],
    "replaces what has a member's name, directories only when it may",
    async (zone) => {
      const { archive } = await copyOut(zone, { path: `${FOLDER}/file`, name: "full" });
      const open = { path: FOLDER, noReplaceTypes: true };
      await expect(copyIn(zone, open, archive)).rejects.toMatchObject({ reason: "IS_A_DIRECTORY" });
      expect(await zone.out(`cat ${FOLDER}/full/file`)).toBe("in");
      expect(await copyIn(zone, { path: FOLDER }, archive)).toMatchObject({ entries: 1, bytes: 5 });
      expect(await zone.out(`cat ${FOLDER}/full`)).toBe("text");
    },
  ),
  inTree("File.CopyIn", [], "unpacks nothing out of its directory, and says how much it has unpacked", async (zone) => {
    const { archive } = await copyOut(zone, { path: `${FOLDER}/file` });
    const whole = archive.subarray(0, 1024);
    for (const bad of [
      forge(archive, "../out"),
      forge(archive, "/out"),
      forge(archive, "dev", "3"),
      archive.subarray(0, 514),
      Buffer.from("no archive".repeat(100)),
    ]) {
      await expect(copyIn(zone, { path: `${FOLDER}/full` }, Buffer.concat([whole, bad]))).rejects.toMatchObject({
        reason: "INVALID_ARCHIVE",
        metadata: { entries: "1", bytes: "5" },
      });
    }
    await zone.out(`ln -s / ${FOLDER}/full/away; ln -s .. ${FOLDER}/full/up`);
    for (const through of ["away/out", "up/out"]) {
      await expect(copyIn(zone, { path: `${FOLDER}/full` }, forge(archive, through))).rejects.toMatchObject({
        reason: "INVALID_ARCHIVE",
      });
    }
    expect(await zone.out(`ls /out ${FOLDER}/out 2>/dev/null || ls -A ${FOLDER}/full`)).toBe("away\nfile\nup");
  }),
  refused("File.CopyIn", ["CopyInRequest.open"], "OPEN_EXPECTED", "open twice", (zone) => {
    const open = { containerId: "main", path: "/tmp" };
    return send(zone.bridge.file.copyIn(zone.in()), { open }, { open });
  }),
  refused("File.CopyIn", ["CopyInRequest.data"], "INVALID_SIZE", "a message of more than 256 KiB", (zone) => {
    const data = Buffer.alloc(256 * 1024 + 1);
    return send(zone.bridge.file.copyIn(zone.in()), { open: { containerId: "main", path: "/tmp" } }, { data });
  }),
  refused("File.CopyOut", [], "NOT_A_DIRECTORY", "the content of a file", (zone) =>
    collect(zone.bridge.file.copyOut({ containerId: "main", path: "/etc/hosts", name: "." }, zone.in())),
  ),
];
