import { expect } from "vitest";
import { type Row, refused } from "../row.js";
import { collect, copyIn, copyOut, FileType, FOLDER, forge, inTree, send } from "./file-calls.js";

/** Cases of File.CopyIn and File.CopyOut. */
export const archiveRows: Row[] = [
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
