import { encodeTar, file, folder, gnuLong, hardlink, pax, symlink, type TarMember } from "@zone/tar";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { ImageLimits } from "./limits.js";
import { scratch } from "./testing/scratch.js";
import { flatten, treeOf } from "./testing/tree.js";
import type { TreeNode } from "./tree.js";

const apply = async (...layers: TarMember[][]) => flatten((await treeOf(scratch(), layers.map(encodeTar))).root);
const names = async (...layers: TarMember[][]) => [...(await apply(...layers)).keys()].sort().join(" ").trim();

describe("applyLayer", () => {
  it("hides with whiteouts what is below, never what its own layer has, wherever they stand", async () => {
    const lower = [file("a"), file("b"), folder("d"), file("d/old"), file("d/e/old")];
    expect(await names(lower, [file(".wh.a"), file(".wh.d")])).toBe("b");
    expect(await names(lower, [file("d/new"), file(".wh.d")])).toBe("a b d d/new");
    expect(await names(lower, [file(".wh.d"), file("d/new")])).toBe("a b d d/new");
    expect(await names(lower, [file("d/e/new"), file("d/.wh..wh..opq")])).toBe("a b d d/e d/e/new");
    expect(await names(lower, [file("d/.wh..wh..opq"), file("d/e/new")])).toBe("a b d d/e d/e/new");
    expect(await names(lower, [file(".wh..wh..opq"), file("z")])).toBe("z");
    expect(await names(lower, [file("a", "new"), file(".wh.a")])).toBe("a b d d/e d/e/old d/old");
    expect(await names(lower, [file(".wh.a")], [file("a")])).toBe("a b d d/e d/e/old d/old");
    expect(await names(lower, [file(".wh.missing"), file("x/.wh.missing")])).toBe("a b d d/e d/e/old d/old x");
  });

  it("merges folders, and replaces all else", async () => {
    const nodes = await apply(
      [folder("d", { mode: 0o700 }), file("d/f"), folder("e"), file("e/f"), file("g", "old"), symlink("s", "d")],
      [folder("d", { mode: 0o711, uid: 5 }), file("e"), folder("g"), folder("s")],
    );
    expect([...nodes.keys()].sort().join(" ").trim()).toBe("d d/f e g s");
    expect(nodes.get("d")).toMatchObject({ kind: "directory", mode: 0o711, uid: 5 });
    expect([nodes.get("e")?.kind, nodes.get("g")?.kind, nodes.get("s")?.kind]).toEqual([
      "file",
      "directory",
      "directory",
    ]);
  });

  it("makes folders that are only implied, and leaves the root as it is", async () => {
    const nodes = await apply([folder("./", { mode: 0o700, uid: 9 }), file("./a/b/c")]);
    expect(nodes.get("a/b")).toMatchObject({ kind: "directory", mode: 0o755, uid: 0 });
    expect(nodes.get("")).toMatchObject({ mode: 0o755, uid: 0 });
  });

  it("gives hard links one node, across layers too", async () => {
    const nodes = await apply(
      [file("a", "1"), hardlink("b", "a")],
      [hardlink("c", "./b"), file("a", "2"), hardlink("d", "/c")],
    );
    expect(nodes.get("c")).toBe(nodes.get("b"));
    expect(nodes.get("d")).toBe(nodes.get("b"));
    expect(nodes.get("a")).not.toBe(nodes.get("b"));
    expect(await names([file("a")], [hardlink("b", "a"), file(".wh.a")])).toBe("b");
    expect(await names([file("a"), hardlink("a", "a")])).toBe("a");
  });

  it("follows links on the way to an entry, but only within the image", async () => {
    expect(await names([folder("usr/bin"), symlink("bin", "usr/bin")], [file("bin/sh")])).toBe(
      "bin usr usr/bin usr/bin/sh",
    );
    expect(await names([symlink("out", "../../../etc")], [file("out/passwd")])).toBe("etc etc/passwd out");
    expect(await names([symlink("out", "/etc")], [file("out/passwd")])).toBe("etc etc/passwd out");
    expect(await names([file("etc/x"), symlink("out", "/etc")], [file("out/.wh.x")])).toBe("etc out");
    expect(await names([file("etc/x"), symlink("out", "/etc")], [hardlink("y", "out/x")])).toBe("etc etc/x out y");
  });

  it("takes a name that begins with a slash to begin at the image's root, as ko writes it", async () => {
    expect(await names([file("/ko-app/app"), folder("//x/")])).toBe("ko-app ko-app/app x");
  });

  it("keeps the attributes that mean something, and none that would steer the zone's overlay", async () => {
    const nodes = await apply([
      pax({
        "SCHILY.xattr.security.capability": "c",
        "SCHILY.xattr.user.a": "",
        "SCHILY.xattr.trusted.overlay.opaque": "y",
        "SCHILY.xattr.com.apple.x": "z",
      }),
      file("f"),
    ]);
    expect([...(nodes.get("f")?.xattrs.keys() ?? [])]).toEqual(["security.capability", "user.a"]);
  });

  it("passes over what AUFS left", async () => {
    expect(await names([folder(".wh..wh.plnk"), file(".wh..wh.plnk/1.2"), file("a/.wh..wh.aufs"), file("b")])).toBe(
      "b",
    );
  });

  const deep = (depth: number) => pax({ path: `${"d/".repeat(depth)}f` });
  const many = Array.from({ length: 40 }, (_, index) => file(`f${index}`));
  it.each<[string, TarMember[], RegExp, Partial<ImageLimits>?]>([
    ["a name that leads out", [file("../../etc/passwd")], /"\.\.\/\.\.\/etc\/passwd".*out of the image/],
    ["a name that leads out and back", [file("a/../../b")], /out of the image/],
    ["a pax name that leads out", [pax({ path: "x/../../y" }), file("f")], /out of the image/],
    ["a GNU name that leads out", [gnuLong("L", "../y"), file("f")], /out of the image/],
    ["a hard link that leads out", [hardlink("l", "../../etc/shadow")], /out of the image/],
    ["a hard link to the host's file", [hardlink("l", "/etc/shadow")], /not there/],
    ["a hard link through a link", [symlink("s", "/"), hardlink("l", "s/etc/shadow")], /not there/],
    ["a hard link to a folder", [folder("d"), hardlink("l", "d")], /folder/],
    ["a hard link to the root", [hardlink("l", "/")], /folder/],
    ["a file through a file", [file("a"), file("a/b")], /no folder/],
    ["a file through a device", [file("a", "", { typeFlag: "3" }), file("a/b")], /no folder/],
    ["links in a circle", [symlink("a", "b"), symlink("b", "a"), file("a/f")], /too many symbolic links/],
    ["an empty link", [symlink("a", "")], /link is empty/],
    ["a link too long", [gnuLong("K", "x".repeat(5000)), symlink("a", "")], /too long/],
    ["a component too long", [pax({ path: `d/${"x".repeat(256)}` }), file("f")], /too long/],
    ["a component too long in a link", [pax({ linkpath: "x".repeat(256) }), symlink("s", ""), file("s/f")], /too long/],
    ["a path too long", [deep(3000), file("f")], /bytes; 4096 are the most/],
    ["folders too deep", [deep(1500), file("f")], /deep/],
    ["a root that is a file", [file(".")], /root can only be a folder/],
    ["a root that is a link", [symlink(".", "/etc")], /root can only be a folder/],
    ["a whiteout of nothing", [file("d/.wh.")], /whiteout of nothing/],
    ["a whiteout of the folder itself", [file("d/.wh..")], /whiteout of nothing/],
    ["a whiteout of the folder above", [file("d/.wh...")], /whiteout of nothing/],
    ["something below a whiteout", [file(".wh.d/f")], /below a whiteout/],
    ["a device without such a number", [file("d", "", { typeFlag: "4", major: 5000 })], /no device/],
    ["an attribute too long", [pax({ "SCHILY.xattr.user.x": "y".repeat(70_000) }), file("f")], /attribute "user\.x"/],
    ["an attribute name too long", [pax({ [`SCHILY.xattr.user.${"x".repeat(300)}`]: "y" }), file("f")], /not valid/],
    ["too many attributes", [pax(attributes(3)), file("f")], /bytes of attributes/],
    ["too many entries", many, /more than 10 (?:entries|files)/, { entries: 10 }],
    ["too many folders", [deep(50), file("f")], /more than 10 files/, { entries: 10 }],
    ["too many bytes of names", many, /too much memory/, { metadataBytes: 50 }],
    [
      "links that take long to follow",
      [symlink("s", `${"./".repeat(100)}d`), file("s/f")],
      /too long to follow/,
      { pathSteps: 50 },
    ],
  ])("refuses %s", async (_, members, message, limits = {}) => {
    await expect(treeOf(scratch(), [encodeTar(members)], limits)).rejects.toMatchObject({
      reason: "IMAGE_REFUSED",
      message: expect.stringMatching(message),
    });
  });

  it("does not spend long on whiteouts that repeat", { timeout: 60_000 }, async () => {
    const lower = Array.from({ length: 20_000 }, (_, index) => file(`d/${index}`));
    const upper = Array.from({ length: 20_000 }, (_, index) => [file(`d/n${index}`), file("d/.wh..wh..opq")]).flat();
    expect((await apply(lower, upper)).size).toBe(20_002);
  });
});

function attributes(count: number): Record<string, string> {
  return Object.fromEntries(
    Array.from({ length: count }, (_, index) => [`SCHILY.xattr.user.${index}`, "y".repeat(60_000)]),
  );
}

/* The same rules once more over a flat map of paths, to compare with. Links on paths are not in it. */
type Flat = Map<string, { is: string; layer: number }>;

function applyFlat(flat: Flat, members: TarMember[], layer: number): void {
  for (const { name, typeFlag, linkName = "", mode } of members) {
    const slash = name.lastIndexOf("/");
    const parent = name.slice(0, Math.max(slash, 0));
    const base = name.slice(slash + 1);
    const steps = parent === "" ? [] : parent.split("/").map((_, index, all) => all.slice(0, index + 1).join("/"));
    for (const step of steps) {
      const at = flat.get(step);
      if (at === undefined) flat.set(step, { is: "directory 493", layer });
      else if (!at.is.startsWith("directory")) throw new Error("no folder");
    }
    if (base === ".wh..wh..opq") hideFlat(flat, parent === "" ? "" : `${parent}/`, layer);
    else if (base.startsWith(".wh.")) {
      const hidden = (parent === "" ? "" : `${parent}/`) + base.slice(4);
      hideFlat(flat, `${hidden}/`, layer);
      const at = flat.get(hidden);
      if (at && at.layer < layer && !hasBelow(flat, hidden)) flat.delete(hidden);
    } else if (typeFlag === "5") {
      if (!flat.get(name)?.is.startsWith("directory")) removeFlat(flat, name);
      flat.set(name, { is: `directory ${mode}`, layer });
    } else if (typeFlag === "1") {
      const target = flat.get(linkName);
      if (!target || target.is.startsWith("directory")) throw new Error("no target");
      if (linkName !== name) removeFlat(flat, name);
      flat.set(name, { is: target.is, layer });
    } else {
      removeFlat(flat, name);
      flat.set(name, { is: `file ${mode}`, layer });
    }
  }
}

const hasBelow = (flat: Flat, path: string) => [...flat.keys()].some((other) => other.startsWith(`${path}/`));

function removeFlat(flat: Flat, path: string): void {
  for (const other of flat.keys()) if (other === path || other.startsWith(`${path}/`)) flat.delete(other);
}

function hideFlat(flat: Flat, prefix: string, layer: number): void {
  const below = [...flat.keys()].filter((path) => path.startsWith(prefix)).sort((a, b) => b.length - a.length);
  for (const path of below) if ((flat.get(path)?.layer ?? 0) < layer && !hasBelow(flat, path)) flat.delete(path);
}

it("agrees with a simple model on any layers", { timeout: 120_000 }, async () => {
  const component = fc.constantFrom("a", "b", "c");
  const path = fc.array(component, { minLength: 1, maxLength: 4 }).map((parts) => parts.join("/"));
  const mode = fc.nat(0o7777);
  const member: fc.Arbitrary<TarMember> = fc.oneof(
    { weight: 4, arbitrary: fc.tuple(path, mode).map(([name, bits]) => file(name, "", { mode: bits })) },
    { weight: 4, arbitrary: fc.tuple(path, mode).map(([name, bits]) => folder(name, { mode: bits })) },
    { weight: 1, arbitrary: fc.tuple(path, path).map(([name, target]) => hardlink(name, target)) },
    { weight: 2, arbitrary: path.map((name) => file(name.replace(/[^/]*$/, ".wh.$&"))) },
    { weight: 1, arbitrary: path.map((name) => file(name.replace(/[^/]*$/, ".wh..wh..opq"))) },
  );
  const layers = fc.array(fc.array(member, { maxLength: 8 }), { minLength: 1, maxLength: 4 });
  const directory = scratch();
  const is = (node: TreeNode) => `${node.kind} ${node.mode}`;
  let agreed = 0;
  await fc.assert(
    fc.asyncProperty(layers, async (members) => {
      const flat: Flat = new Map();
      let refused = false;
      try {
        for (const [index, layer] of members.entries()) applyFlat(flat, layer, index);
      } catch {
        refused = true;
      }
      const tree = treeOf(directory, members.map(encodeTar));
      if (refused) {
        await expect(tree).rejects.toMatchObject({ reason: "IMAGE_REFUSED" });
        return;
      }
      const nodes = flatten((await tree).root);
      nodes.delete("");
      const found = [...nodes].map(([name, node]) => `${name} ${is(node)}`).sort();
      expect(found).toEqual([...flat].map(([name, node]) => `${name} ${node.is}`).sort());
      agreed += 1;
    }),
    { numRuns: 2000 },
  );
  expect(agreed).toBeGreaterThan(200);
});
