import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { encodeTar, file, folder, hardlink, symlink } from "@zone/tar";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { MountLab } from "../mount/testing/lab.js";
import { copyIn, writeAll } from "./testing/client.js";

let lab: MountLab;
beforeAll(async () => {
  lab = await MountLab.start();
  for (const [type, mib] of [
    ["ext4", 32],
    ["xfs", 320],
  ] as const) {
    lab.disk(type, type, mib);
    await lab.mounts.mount({ mount: { type, source: `serial:${type}`, target: type } });
  }
});
afterAll(() => lab.end());

for (const type of ["ext4", "xfs"]) {
  describe(`changes in a frozen ${type}`, () => {
    it("are refused, and the agent goes on", async () => {
      const { files } = lab.agent;
      const top = lab.run("mounts", type);
      mkdirSync(`${top}/dir`);
      writeFileSync(`${top}/dir/f`, "before");
      await lab.mounts.freeze({ target: type });
      const data = Buffer.alloc(100_000, 1);
      const calls = [
        () => writeAll(files, { path: `${top}/new` }, "x"),
        () => writeAll(files, { path: `${top}/dir/f` }, data),
        () => writeAll(files, { path: `${top}/dir/f`, append: true }, data),
        () => writeAll(files, { path: `${top}/new`, offset: 0 }, data),
        () => files.makeDirectory({ path: `${top}/d` }),
        () => files.makeDirectory({ path: `${top}/d/e`, parents: true }),
        () => files.makeLink({ path: `${top}/l`, target: "x" }),
        () => files.makeLink({ path: `${top}/l`, target: `${top}/dir/f`, hard: true }),
        () => files.remove({ path: `${top}/dir/f` }),
        () => files.remove({ path: `${top}/dir`, recursive: true }),
        () => files.move({ from: `${top}/dir`, to: `${top}/moved` }),
        () => files.setAttributes({ path: `${top}/dir/f`, mode: 0o600 }),
        ...[folder("dir"), folder("x/y"), file("dir/f", "x"), symlink("l", "x"), hardlink("h", "dir/f")].map(
          (member) => () => copyIn(files, { path: top }, encodeTar([member])),
        ),
      ];
      for (const call of calls) await expect(call()).rejects.toMatchObject({ reason: "MOUNT_FROZEN" });
      expect((await files.stat({ path: `${top}/dir/f` })).file?.size).toBe(6);
      await lab.mounts.thaw({ target: type });
      expect(readdirSync(`${top}/dir`)).toEqual(["f"]);
      expect(readFileSync(`${top}/dir/f`, "utf8")).toBe("before");
      await writeAll(files, { path: `${top}/new` }, "x");
    });

    it("are refused in the middle of a write", async () => {
      const { files } = lab.agent;
      const top = lab.run("mounts", type);
      const path = `${top}/cut`;
      const { requests, response } = files.write();
      requests.write({ open: { path } });
      requests.write({ data: Buffer.alloc(1000, 1) });
      await expect.poll(() => readdirSync(top).some((name) => name.startsWith(".zone-write-"))).toBe(true);
      await lab.mounts.freeze({ target: type });
      const refused = expect(response).rejects.toMatchObject({ reason: "MOUNT_FROZEN" });
      requests.write({ data: Buffer.alloc(1000, 1) });
      requests.end();
      await refused;
      await files.stat({ path: top });
      await lab.mounts.thaw({ target: type });
      expect(existsSync(path)).toBe(false);
    });
  });
}
