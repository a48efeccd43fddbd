import {
  constants,
  fstatSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { closeFd } from "./descriptors.js";
import {
  chownAt,
  linkAt,
  mkdirAt,
  mknodAt,
  openAt,
  openInRoot,
  readlinkBytesAt,
  renameAt,
  seekData,
  seekHole,
  setTimes,
  symlinkAt,
  unlinkAt,
} from "./files.js";
import { caught } from "./testing/caught.js";

const isRoot = process.getuid?.() === 0;
/** <fcntl.h>; Node has no name for it. */
const O_PATH = 0o10000000;
const { O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_RDONLY, O_WRONLY } = constants;

describe("files by descriptor and name", () => {
  let top: string;
  let dir: string;
  let dirFd: number;
  let count = 0;
  const opened: number[] = [];
  const kept = (fd: number) => {
    opened.push(fd);
    return fd;
  };
  beforeAll(() => {
    top = mkdtempSync(join(tmpdir(), "zone-files-"));
  });
  afterAll(() => rmSync(top, { recursive: true }));
  beforeEach(() => {
    dir = join(top, String(count++));
    mkdirSync(dir);
    dirFd = kept(openSync(dir, O_RDONLY | O_DIRECTORY));
  });
  afterEach(() => {
    for (const fd of opened.splice(0)) closeFd(fd);
  });

  it("opens, makes, renames and removes", () => {
    const fd = kept(openAt(dirFd, "a", O_CREAT | O_EXCL | O_WRONLY, 0o600));
    writeSync(fd, "A");
    expect(fstatSync(fd).mode & 0o777).toBe(0o600);
    expect(caught(() => openAt(dirFd, "a", O_CREAT | O_EXCL | O_WRONLY))).toMatchObject({
      code: "EEXIST",
      syscall: "openat",
      path: "a",
    });
    writeFileSync(join(dir, "b"), "B");
    expect(caught(() => renameAt(dirFd, "a", dirFd, "b", { noReplace: true }))).toMatchObject({ code: "EEXIST" });
    renameAt(dirFd, "a", dirFd, "b", { exchange: true });
    expect([readFileSync(join(dir, "a"), "utf8"), readFileSync(join(dir, "b"), "utf8")]).toEqual(["B", "A"]);
    renameAt(dirFd, "a", dirFd, "b");
    expect(readdirSync(dir)).toEqual(["b"]);
    mkdirAt(dirFd, "d", 0o700);
    expect(caught(() => mkdirAt(dirFd, "d"))).toMatchObject({ code: "EEXIST" });
    expect(caught(() => unlinkAt(dirFd, "d"))).toMatchObject({ code: "EISDIR" });
    expect(caught(() => unlinkAt(dirFd, "b", { directory: true }))).toMatchObject({ code: "ENOTDIR" });
    unlinkAt(dirFd, "d", { directory: true });
    unlinkAt(dirFd, "b");
    expect(readdirSync(dir)).toEqual([]);
    expect(caught(() => unlinkAt(dirFd, "b"))).toMatchObject({ code: "ENOENT" });
  });

  it("follows no link that it is not to follow", () => {
    symlinkAt("/etc/passwd", dirFd, "link");
    expect(readlinkSync(join(dir, "link"))).toBe("/etc/passwd");
    expect(caught(() => openAt(dirFd, "link", O_RDONLY | O_NOFOLLOW))).toMatchObject({ code: "ELOOP" });
    const link = kept(openAt(dirFd, "link", O_PATH | O_NOFOLLOW));
    expect(readlinkBytesAt(link).toString()).toBe("/etc/passwd");
    expect(caught(() => readlinkBytesAt(dirFd))).toMatchObject({ code: "EINVAL", syscall: "readlinkat" });
    const before = statSync("/etc/passwd", { bigint: true });
    setTimes(link, 1n, 2n);
    expect(lstatSync(join(dir, "link"), { bigint: true })).toMatchObject({ atimeNs: 1n, mtimeNs: 2n });
    expect(statSync("/etc/passwd", { bigint: true }).mtimeNs).toBe(before.mtimeNs);
  });

  it("takes names that are not UTF-8, and does not alter them", () => {
    const name = Buffer.from([0x66, 0xff, 0xfe]);
    symlinkAt(name, dirFd, name);
    expect(readdirSync(dir, { encoding: "buffer" })).toEqual([name]);
    const link = kept(openAt(dirFd, name, O_PATH | O_NOFOLLOW));
    expect(readlinkBytesAt(link)).toEqual(name);
    unlinkAt(dirFd, name);
    expect(caught(() => openAt(dirFd, Buffer.from("a\0b"), O_RDONLY))).toMatchObject({ code: "ERR_INVALID_ARG_VALUE" });
    expect(caught(() => openAt(dirFd, Buffer.alloc(4096, 97), O_RDONLY))).toMatchObject({ code: "ENAMETOOLONG" });
    expect(caught(() => openAt(dirFd, new Uint8Array(), O_RDONLY))).toMatchObject({ code: "ENOENT" });
    expect(caught(() => openAt(dirFd, 5 as unknown as string, O_RDONLY))).toMatchObject({
      code: "ERR_INVALID_ARG_TYPE",
    });
  });

  it.skipIf(!isRoot)("links, owns and makes nodes (needs root)", () => {
    writeFileSync(join(dir, "file"), "x");
    const file = kept(openAt(dirFd, "file", O_PATH));
    linkAt(file, dirFd, "second");
    expect(statSync(join(dir, "second")).ino).toBe(fstatSync(file).ino);
    expect(caught(() => linkAt(file, dirFd, "second"))).toMatchObject({ code: "EEXIST" });
    symlinkAt("nowhere", dirFd, "link");
    const link = kept(openAt(dirFd, "link", O_PATH | O_NOFOLLOW));
    linkAt(link, dirFd, "link2");
    expect(readlinkSync(join(dir, "link2"))).toBe("nowhere");
    chownAt(link, 1234, 4_294_967_294);
    expect(lstatSync(join(dir, "link"))).toMatchObject({ uid: 1234, gid: 4_294_967_294 });
    chownAt(file, -1, 77);
    expect(statSync(join(dir, "file"))).toMatchObject({ uid: 0, gid: 77 });
    for (const bad of [-2, 4_294_967_295, 1.5]) {
      expect(caught(() => chownAt(file, bad, 0))).toMatchObject({ code: "ERR_OUT_OF_RANGE" });
    }
    mknodAt(dirFd, "null", constants.S_IFCHR | 0o600, 1, 3);
    expect(readFileSync(join(dir, "null"), "utf8")).toBe("");
    mknodAt(dirFd, "fifo", constants.S_IFIFO | 0o600, 0, 0);
    expect(statSync(join(dir, "fifo")).isFIFO()).toBe(true);
    expect(caught(() => mknodAt(dirFd, "big", constants.S_IFCHR, 4096, 0))).toMatchObject({ code: "EINVAL" });
  });

  it("sets times to the nanosecond, before 1970 too, and leaves what is not given", () => {
    const fd = kept(openAt(dirFd, "t", O_CREAT | O_WRONLY, 0o600));
    const path = kept(openAt(dirFd, "t", O_PATH));
    fc.assert(
      fc.property(
        fc.bigInt({ min: -(2n ** 31n - 1n) * 1_000_000_000n, max: 2n ** 33n * 1_000_000_000n }),
        fc.boolean(),
        (time, usePath) => {
          setTimes(fd, 5n, 6n);
          setTimes(usePath ? path : fd, undefined, time);
          expect(fstatSync(fd, { bigint: true })).toMatchObject({ atimeNs: 5n, mtimeNs: time });
        },
      ),
    );
    expect(caught(() => setTimes(fd, 2n ** 100n, undefined))).toMatchObject({ code: "ERR_OUT_OF_RANGE" });
    expect(caught(() => setTimes(999_999, 1n, 1n))).toMatchObject({ code: "EBADF" });
  });

  it("finds data and holes", () => {
    const path = join(dir, "sparse");
    writeFileSync(path, "begin");
    truncateSync(path, 8 << 20);
    const fd = kept(openSync(path, "r+"));
    writeSync(fd, "middle", 4 << 20);
    const hole = seekHole(fd, 0);
    expect(hole).toBeGreaterThanOrEqual(5);
    expect(hole).toBeLessThanOrEqual(1 << 20);
    expect(seekData(fd, hole)).toBe(4 << 20);
    expect(seekData(fd, 6 << 20)).toBe(-1);
    expect(seekHole(fd, 6 << 20)).toBe(6 << 20);
    expect(seekHole(fd, 8 << 20)).toBe(-1);
    expect(caught(() => seekData(dirFd, 2 ** 60))).toMatchObject({ code: "ERR_OUT_OF_RANGE" });
  });

  it("resolves a path as strictly as asked", () => {
    mkdirSync(join(dir, "root/sub"), { recursive: true });
    symlinkSync("sub", join(dir, "root/inner"));
    symlinkSync("/sub", join(dir, "root/absolute"));
    const root = kept(openSync(join(dir, "root"), O_PATH | O_DIRECTORY));
    for (const path of ["sub", "inner", "absolute", "/sub", "../sub"]) kept(openInRoot(root, path, O_RDONLY));
    expect(caught(() => openInRoot(root, "inner", O_RDONLY, 0, { noSymlinks: true }))).toMatchObject({ code: "ELOOP" });
    kept(openInRoot(root, "inner", O_RDONLY, 0, { beneath: true }));
    for (const path of ["absolute", "/sub", "../sub"])
      expect(caught(() => openInRoot(root, path, O_RDONLY, 0, { beneath: true }))).toMatchObject({ code: "EXDEV" });
    const slash = kept(openSync("/", O_PATH | O_DIRECTORY));
    kept(openInRoot(slash, "proc", O_RDONLY));
    expect(caught(() => openInRoot(slash, "proc", O_RDONLY, 0, { noXdev: true }))).toMatchObject({ code: "EXDEV" });
  });
});
