import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { checkMount } from "./check-mount.js";
import { checkFiles } from "./file-contents.js";

describe("checkMount", () => {
  it("fills in the defaults", () => {
    expect(checkMount({ type: "tmpfs", target: "/tmp//x/" })).toMatchObject({
      ...{ type: "tmpfs", source: { kind: "text", text: "tmpfs" }, sourceText: "tmpfs", target: "/tmp/x" },
      ...{ waitMs: 10_000, files: [], subdirectory: "", copyUp: false, layers: undefined },
    });
  });

  it("reads sources by type", () => {
    const source = (type: string, text: string) => checkMount({ type, target: "/x", source: text }).source;
    expect(source("ext4", "serial:v1")).toEqual({ kind: "disk", serial: "v1" });
    expect(source("virtiofs", "share")).toEqual({ kind: "tag", tag: "share" });
    expect(source("bind", "zone:data")).toEqual({ kind: "place", place: { kind: "zone", name: "data", path: "/" } });
    expect(source("bind", "zone:data/a//b")).toMatchObject({ place: { path: "/a/b" } });
    expect(source("bind", "/var/x/")).toEqual({ kind: "place", place: { kind: "container", path: "/var/x" } });
  });

  it("takes an overlay's layers apart", () => {
    const options = ["lowerdir=zone:a/x:zone:b:/c:/d", "upperdir=zone:w/u", "workdir=zone:w/w", "metacopy=on"];
    const { layers, options: rest } = checkMount({ type: "overlay", target: "/x", options });
    expect(layers).toEqual({
      lower: [
        { kind: "zone", name: "a", path: "/x" },
        { kind: "zone", name: "b", path: "/" },
        { kind: "container", path: "/c" },
        { kind: "container", path: "/d" },
      ],
      upper: { kind: "zone", name: "w", path: "/u" },
      work: { kind: "zone", name: "w", path: "/w" },
    });
    expect(rest.fs).toEqual([["metacopy", "on"]]);
  });

  const tmpfs = { type: "tmpfs", target: "/x" };
  for (const [what, spec, where] of [
    ["no type", { target: "/x" }],
    ["another type", { type: "nfs", target: "/x" }],
    ["no target", { type: "tmpfs" }],
    ["a relative target", { type: "tmpfs", target: "x" }],
    ["a target with ..", { type: "tmpfs", target: "/a/../b" }],
    ["the root", { type: "tmpfs", target: "//" }],
    ["a NUL", { type: "tmpfs", target: "/a\0b" }],
    ["a long name", { type: "tmpfs", target: `/${"x".repeat(256)}` }],
    ["a path without container", tmpfs, "zone"],
    ["a bad name", { type: "tmpfs", target: "..", source: "" }, "zone"],
    ["a long wait", { ...tmpfs, waitMs: 120_001 }],
    ["a disk without serial", { type: "ext4", target: "/x", source: "/dev/vda" }],
    ["a long serial", { type: "ext4", target: "/x", source: `serial:${"s".repeat(21)}` }],
    ["no tag", { type: "virtiofs", target: "/x" }],
    ["a bind of nothing", { type: "bind", target: "/x" }],
    ["a bind out of a zone's mount", { type: "bind", target: "/x", source: "zone:a/../../etc" }],
    ["a bind of a path without container", { type: "bind", target: "x", source: "/etc" }, "zone"],
    ["options of a bind", { type: "bind", target: "/x", source: "zone:a", options: ["size=1m"] }],
    ["rbind of another type", { ...tmpfs, options: ["rbind"] }],
    ["an overlay without layers", { type: "overlay", target: "/x" }],
    ["half an overlay", { type: "overlay", target: "/x", options: ["lowerdir=/a", "upperdir=/b"] }],
    ["a deep overlay", { type: "overlay", target: "/x", options: [`lowerdir=${Array(13).fill("/a").join(":")}`] }],
    ["files of a tmpfs", { ...tmpfs, files: [{ path: "a" }] }],
    ["an absolute subdirectory", { ...tmpfs, subdirectory: "/a" }],
    ["a subdirectory with ..", { ...tmpfs, subdirectory: "a/../.." }],
    ["a subdirectory of proc", { type: "proc", target: "/x", subdirectory: "self" }],
    ["copy_up of proc", { type: "proc", target: "/x", copyUp: true }],
    ["copy_up without container", { type: "tmpfs", target: "x", copyUp: true }, "zone"],
  ] as const) {
    it(`refuses ${what}`, () => {
      expect(() => checkMount(spec as object, where)).toThrow(expect.objectContaining({ reason: "INVALID_MOUNT" }));
    });
  }

  it("says INVALID_ARGUMENT or takes it, whatever the texts are", () => {
    const text = fc.string({ unit: "binary" });
    fc.assert(
      fc.property(fc.constantFrom("bind", "tmpfs", "overlay", "ext4"), text, text, fc.array(text), (type, ...rest) => {
        const [source, target, options] = rest;
        try {
          const mount = checkMount({ type, source, target: `/${target}`, options, subdirectory: source });
          expect(mount.target).toMatch(/^(\/[^/]+)+$/s);
          expect(mount.target.split("/")).not.toContain("..");
          expect(mount.subdirectory.split("/")).not.toContain("..");
        } catch (error) {
          expect(error).toMatchObject({ code: "INVALID_ARGUMENT" });
        }
      }),
    );
  });
});

describe("checkFiles", () => {
  it("fills in the mode", () => {
    expect(checkFiles([{ path: "a/b", data: Buffer.from("x"), uid: 5 }])).toEqual([
      { path: ["a", "b"], data: Buffer.from("x"), mode: 0o644, uid: 5, gid: 0 },
    ]);
    expect(checkFiles([{ path: "" }])).toMatchObject([{ path: [] }]);
  });

  for (const [what, files] of [
    ["an absolute path", [{ path: "/a" }]],
    ["a path with ..", [{ path: "a/../b" }]],
    ["our own names", [{ path: "..data" }]],
    ["an empty component", [{ path: "a//b" }]],
    ["a NUL", [{ path: "a\0" }]],
    ["a long name", [{ path: "x".repeat(256) }]],
    ["one twice", [{ path: "a" }, { path: "a" }]],
    ["a file that is a folder", [{ path: "a/b" }, { path: "a" }]],
    ["the mount itself and another", [{ path: "" }, { path: "a" }]],
    ["more than a mode", [{ path: "a", mode: 0o10000 }]],
    ["nobody as owner", [{ path: "a", uid: 0xffff_ffff }]],
  ] as const) {
    it(`refuses ${what}`, () => {
      expect(() => checkFiles(files)).toThrow(expect.objectContaining({ reason: "INVALID_FILES" }));
    });
  }

  it("bounds them", () => {
    const many = Array.from({ length: 1025 }, (_, index) => ({ path: `f${index}` }));
    expect(() => checkFiles(many)).toThrow(expect.objectContaining({ reason: "FILES_TOO_LARGE" }));
    const large = [{ path: "a", data: Buffer.alloc(3 * 1024 * 1024 + 1) }];
    expect(() => checkFiles(large)).toThrow(expect.objectContaining({ reason: "FILES_TOO_LARGE" }));
  });
});
