import { describe, expect, it } from "vitest";
import { agentFile, tmpfsMount, withoutContent } from "./mount-plan.js";
import { checkMounts, type ZoneFile, type ZoneMount } from "./mount-spec.js";

const data = (text: string) => Buffer.from(text);
const filesAt = (files: ZoneFile[]): ZoneMount => ({ files: { files }, target: "/f" });

describe("checkMounts", () => {
  const refused: [string, ZoneMount[], string, string][] = [
    ["nothing to mount", [{ target: "/x" }], "INVALID_MOUNT", "not what to mount"],
    ["a relative target", [{ tmpfs: {}, target: "x" }], "INVALID_MOUNT", "absolute"],
    ["a target with ..", [{ tmpfs: {}, target: "/a/../b" }], "INVALID_MOUNT", '".."'],
    ["the root as target", [{ tmpfs: {}, target: "/./" }], "INVALID_MOUNT", "image"],
    [
      "one target twice",
      [
        { tmpfs: {}, target: "/a" },
        { tmpfs: {}, target: "//a/" },
      ],
      "INVALID_MOUNT",
      "/a",
    ],
    ["a relative host path", [{ host: { path: "etc" }, target: "/a" }], "INVALID_MOUNT", "absolute"],
    ["a host path with NUL", [{ host: { path: "/a\0b" }, target: "/a" }], "INVALID_MOUNT", "control"],
    ["a volume's name with a slash", [{ volume: { name: "a/b" }, target: "/a" }], "INVALID_NAME", "a/b"],
    ["an empty option", [{ tmpfs: { options: [""] }, target: "/a" }], "INVALID_MOUNT", "size=64m"],
    ["a path out of the mount", [filesAt([{ path: "a/../../b" }])], "INVALID_FILES", ".."],
    ["an absolute path of a file", [filesAt([{ path: "/a" }])], "INVALID_FILES", "relative"],
    ["a name of the agent's own", [filesAt([{ path: "..data" }])], "INVALID_FILES", "..data"],
    ["two files of one path", [filesAt([{ path: "a" }, { path: "a" }])], "INVALID_FILES", "same path"],
    ["a file that is a folder too", [filesAt([{ path: "a/b" }, { path: "a" }])], "INVALID_FILES", "both"],
    ["a target as file beside others", [filesAt([{ path: "" }, { path: "a" }])], "INVALID_FILES", "only one"],
    ["a mode beyond permissions", [filesAt([{ path: "a", mode: 0o100644 }])], "INVALID_FILES", "mode"],
    ["an owner that cannot be", [filesAt([{ path: "a", uid: 0xffff_ffff }])], "INVALID_FILES", "owner"],
    ["files of more than 1 MiB", [filesAt([{ path: "a", data: Buffer.alloc(1048577) }])], "INVALID_FILES", "1048576"],
    ["65 mounts", Array.from({ length: 65 }, (_, n) => ({ tmpfs: {}, target: `/${n}` })), "INVALID_MOUNT", "64"],
  ];
  it.each(refused)("refuses %s", (_, mounts, reason, named) => {
    const message = expect.stringContaining(named);
    expect(() => checkMounts(mounts)).toThrow(expect.objectContaining({ reason, message }));
  });

  it("keeps targets without what makes no difference", () => {
    const mounts = [{ tmpfs: {}, target: "//a/./b/" }, filesAt([{ path: "", data: data("x") }])];
    expect(checkMounts(mounts).map(({ target }) => target)).toEqual(["/a/b", "/f"]);
  });
});

describe("what is mounted", () => {
  it("has Docker's defaults for tmpfs, unless the options say otherwise", () => {
    expect(tmpfsMount("/t", [], false).options).toEqual(["noexec", "nosuid", "nodev"]);
    expect(tmpfsMount("/t", ["exec,size=1m", "mode=1777"], true).options).toEqual([
      ...["nosuid", "nodev", "exec", "size=1m", "mode=1777", "ro"],
    ]);
  });

  it("is kept without the content of files", () => {
    const mounts = [filesAt([{ path: "a", data: data("secret") }]), { tmpfs: {}, target: "/t" }];
    const { mounts: kept, files } = withoutContent(mounts);
    expect(JSON.stringify(kept)).not.toContain("115"); // "s" of a buffer as JSON
    expect(kept).toEqual([{ files: {}, target: "/f" }, mounts[1]]);
    expect(files.get("/f")?.[0]?.data).toEqual(data("secret"));
  });

  it("has files that all may read, unless their mode says otherwise", () => {
    expect(agentFile({ path: "a" })).toMatchObject({ mode: 0o444, uid: 0, gid: 0 });
    expect(agentFile({ path: "a", mode: 0o600, uid: 5 })).toMatchObject({ mode: 0o600, uid: 5 });
  });
});
