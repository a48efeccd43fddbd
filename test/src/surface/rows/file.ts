import { expect } from "vitest";
import { type Row, refused, works } from "../row.js";
import { archiveRows } from "./file-archives.js";
import { FileType, FOLDER, inTree, read, send, stat, tree, withFolder, write } from "./file-calls.js";
import { fileRefusals } from "./file-refusals.js";

export const fileRows: Row[] = [
  ...fileRefusals,

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
      ...["container_id", "path", "mode", "uid", "gid", "exclusive", "size"].map((field) => `WriteOpen.${field}`),
    ],
    "makes a file, and replaces one as a whole, which keeps its owner and mode",
    async (zone) => {
      const path = `${FOLDER}/new`;
      expect(await write(zone, { path, mode: 0o4640, uid: 3, gid: 4, exclusive: true }, "ab", "cd")).toBe(4);
      expect(await stat(zone, path)).toMatchObject({ mode: 0o4640, uid: 3, gid: 4, size: 4 });
      const { inode } = await stat(zone, path);
      expect(await write(zone, { path, size: 5 }, "other")).toBe(5);
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
    requests.write({ open: { containerId: "main", path: `${FOLDER}/file`, size: 8 } });
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

  ...archiveRows,
];
