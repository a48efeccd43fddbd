import { MOUNT_ATTR, PROPAGATION } from "@zone/native";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseOptions } from "./options.js";

const NOTHING = { set: 0, clear: 0 };

describe("parseOptions", () => {
  it("tells flags of the mount from options of the file system", () => {
    expect(parseOptions(["ro", "nosuid,nodev", "size=64m", "mode=1777", "lazytime", "defaults"])).toEqual({
      attributes: { set: MOUNT_ATTR.RDONLY | MOUNT_ATTR.NOSUID | MOUNT_ATTR.NODEV, clear: 0 },
      recursiveAttributes: NOTHING,
      propagation: undefined,
      recursive: false,
      fs: [["size", "64m"], ["mode", "1777"], ["lazytime"]],
    });
  });

  it("knows what goes down a tree", () => {
    expect(parseOptions(["rbind", "rro", "rslave"])).toMatchObject({
      attributes: NOTHING,
      recursiveAttributes: { set: MOUNT_ATTR.RDONLY, clear: 0 },
      propagation: { kind: PROPAGATION.SLAVE, recursive: true },
      recursive: true,
      fs: [],
    });
    expect(parseOptions(["relatime", "unbindable"])).toMatchObject({
      attributes: { set: 0, clear: MOUNT_ATTR.NOATIME | MOUNT_ATTR.STRICTATIME },
      recursiveAttributes: NOTHING,
      propagation: { kind: PROPAGATION.UNBINDABLE, recursive: false },
    });
  });

  it("lets the last of contradicting flags count", () => {
    const flags = fc.constantFrom("ro", "rw", "noexec", "exec", "noatime", "strictatime", "relatime", "nosuid", "suid");
    fc.assert(
      fc.property(fc.array(flags, { maxLength: 20 }), (texts) => {
        const { set, clear } = parseOptions(texts).attributes;
        expect(set & clear).toBe(0);
        expect(set & (MOUNT_ATTR.NOATIME | MOUNT_ATTR.STRICTATIME)).not.toBe(
          MOUNT_ATTR.NOATIME | MOUNT_ATTR.STRICTATIME,
        );
        const last = texts.findLast((text) => text === "ro" || text === "rw");
        if (last) expect((last === "ro" ? set : clear) & MOUNT_ATTR.RDONLY).toBe(MOUNT_ATTR.RDONLY);
      }),
    );
  });

  it("takes any text as options, or says INVALID_MOUNT", () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: "binary" })), (texts) => {
        try {
          for (const [key, value] of parseOptions(texts).fs) {
            expect(key).not.toBe("");
            expect(`${key}${value ?? ""}`).not.toContain(",");
          }
        } catch (error) {
          expect(error).toMatchObject({ reason: "INVALID_MOUNT" });
        }
      }),
    );
    expect(parseOptions(["constructor", "r", ""]).fs).toEqual([["constructor"], ["r"]]);
  });

  for (const [what, texts] of [
    ["too many", Array(65).fill("ro")],
    ["one that is too long", [`x=${"y".repeat(254)}`]],
    ["a source", ["source=/dev/vda"]],
    ["no name", ["=x"]],
    ["a NUL", ["a\0b"]],
  ] as const) {
    it(`refuses ${what}`, () => {
      expect(() => parseOptions(texts)).toThrow(expect.objectContaining({ reason: "INVALID_MOUNT" }));
    });
  }
});
