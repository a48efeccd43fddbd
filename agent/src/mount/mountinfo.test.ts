import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type MountInfo, parseMountInfo, readMountInfo, unescapeOctal, utf8 } from "./mountinfo.js";

/** As the kernel writes names: seq_escape() with " \t\n\\#", and bytes as they are. */
function escapeOctal(text: string): string {
  return text.replace(/[ \t\n\\#]/g, (char) => `\\${char.charCodeAt(0).toString(8).padStart(3, "0")}`);
}

function format(info: MountInfo): string {
  const head = [
    info.id,
    info.parentId,
    info.device,
    escapeOctal(info.root),
    escapeOctal(info.target),
    info.options.join(","),
  ];
  const tail = [escapeOctal(info.type), escapeOctal(info.source), info.fsOptions.map(escapeOctal).join(",")];
  return `${[...head, ...info.propagation, "-", ...tail].join(" ")}\n`;
}

const name = fc.string({ unit: "binary-ascii", minLength: 1 }).filter((text) => !text.includes("\0"));
const option = fc.stringMatching(/^[a-z=/ \\0-9]{1,12}$/);
const number = fc.nat();
const line: fc.Arbitrary<MountInfo> = fc.record({
  id: number,
  parentId: number,
  device: fc.tuple(number, number).map(([major, minor]) => `${major}:${minor}`),
  root: name,
  target: name,
  options: fc.array(fc.stringMatching(/^[a-z]{2,8}$/), { minLength: 1 }),
  fsOptions: fc.array(option, { minLength: 1 }),
  propagation: fc.array(fc.constantFrom("shared:1", "master:22", "propagate_from:3", "unbindable")),
  type: fc.stringMatching(/^[a-z0-9.]{1,10}$/),
  source: fc.oneof(name, fc.constant("")),
});

describe("mountinfo", () => {
  it("is read back as the kernel would write it", () => {
    fc.assert(
      fc.property(fc.array(line), (infos) => {
        expect(parseMountInfo(infos.map(format).join(""))).toEqual(infos);
      }),
    );
  });

  it("is parsed, or refused with a reason, whatever it is", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        try {
          parseMountInfo(text);
        } catch (error) {
          expect(String(error)).toContain("a line of mountinfo is not understood");
        }
      }),
    );
  });

  it("undoes octal escapes, of any byte, and nothing else", () => {
    expect(unescapeOctal("a\\040b\\011\\012\\134\\043\\9\\40")).toBe("a b\t\n\\#\\9\\40");
    expect(utf8(unescapeOctal("\\303\\244"))).toBe("ä");
    fc.assert(fc.property(name, (text) => unescapeOctal(escapeOctal(text)) === text));
  });

  it("is this process's own", () => {
    const infos = readMountInfo("self");
    expect(infos.find(({ target }) => target === "/proc")).toMatchObject({ type: "proc", root: "/" });
    expect(() => readMountInfo(2 ** 30)).toThrow(/ENOENT/);
  });
});
