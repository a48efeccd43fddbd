import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseGroup, parseId, parsePasswd } from "./accounts.js";
import { resolveUser } from "./user.js";

const passwd = [
  "root:x:0:0:root:/root:/bin/bash",
  "# comment",
  "broken:x:notanumber:0::/:",
  "www:x:33:34:www:/var/www:/bin/false",
  "nohome:x:50:51:::",
  "",
].join("\n");
const group = ["root:x:0:", "disk:x:6:root,www", "www:x:34:", "adm:x:4:www", "bad:x:", "audio:x:29:"].join("\n");
const files = { passwd: () => passwd, group: () => group };
const none = { passwd: () => "", group: () => "" };

describe("resolveUser", () => {
  const cases: [string, string[], object][] = [
    ["", [], { uid: 0, gid: 0, groups: [6], home: "/root" }],
    ["root", [], { uid: 0, gid: 0, groups: [6], home: "/root" }],
    ["www", [], { uid: 33, gid: 34, groups: [6, 4], home: "/var/www" }],
    ["33", [], { uid: 33, gid: 34, groups: [6, 4], home: "/var/www" }],
    ["www:audio", [], { uid: 33, gid: 29, groups: [], home: "/var/www" }],
    ["www:7777", [], { uid: 33, gid: 7777, groups: [], home: "/var/www" }],
    ["www:", [], { uid: 33, gid: 34, groups: [6, 4], home: "/var/www" }],
    ["12345", [], { uid: 12345, gid: 0, groups: [], home: "/" }],
    ["12345:6", [], { uid: 12345, gid: 6, groups: [], home: "/" }],
    ["nohome", [], { uid: 50, gid: 51, groups: [], home: "/" }],
    ["12345", ["audio", "9999", "audio"], { uid: 12345, gid: 0, groups: [29, 9999], home: "/" }],
    [":audio", [], { uid: 0, gid: 29, groups: [], home: "/root" }],
  ];
  for (const [spec, additional, user] of cases) {
    it(`takes "${spec}" with [${additional}]`, () => expect(resolveUser(spec, additional, files)).toEqual(user));
  }

  it("works without account files for numbers alone", () => {
    expect(resolveUser("", [], none)).toEqual({ uid: 0, gid: 0, groups: [], home: "/" });
    expect(resolveUser("7:8", ["9"], none)).toEqual({ uid: 7, gid: 8, groups: [9], home: "/" });
  });

  for (const [spec, additional, reason] of [
    ["nobody", [], "USER_UNKNOWN"],
    ["broken", [], "USER_UNKNOWN"],
    ["4294967295", [], "USER_UNKNOWN"],
    ["-1", [], "USER_UNKNOWN"],
    ["www:nogroup", [], "GROUP_UNKNOWN"],
    ["www", ["nogroup"], "GROUP_UNKNOWN"],
    ["a:b:c", [], "INVALID_USER_SPEC"],
    ["a\nb", [], "INVALID_USER_SPEC"],
  ] as const) {
    it(`refuses "${JSON.stringify(spec)}" with [${additional}] as ${reason}`, () => {
      expect(() => resolveUser(spec, additional, files)).toThrow(expect.objectContaining({ reason }));
    });
  }
});

describe("the account parsers", () => {
  it("survive anything, and yield ids in range alone", () => {
    const text = fc.oneof(
      fc.string(),
      fc.array(fc.stringMatching(/^[a-z:0-9,]{0,30}$/)).map((lines) => lines.join("\n")),
    );
    fc.assert(
      fc.property(text, (input) => {
        for (const { uid, gid } of parsePasswd(input))
          expect(parseId(String(uid)) !== undefined && gid >= 0).toBe(true);
        for (const { gid, members } of parseGroup(input)) expect(gid >= 0 && !members.includes("")).toBe(true);
      }),
    );
  });
});
