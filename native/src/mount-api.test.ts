import {
  constants,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statfsSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { closeFd } from "./descriptors.js";
import { openAt } from "./files.js";
import {
  fsMount,
  MOUNT_ATTR,
  moveMount,
  openTree,
  PROPAGATION,
  reconfigureFs,
  setMountAttributes,
  unmountAt,
  unmountFd,
} from "./mount-api.js";
import { MNT_DETACH } from "./system.js";
import { caught } from "./testing/caught.js";

const isRoot = process.getuid?.() === 0;
const O_PATH = 0o10000000;
const { O_CREAT, O_DIRECTORY, O_RDONLY, O_WRONLY } = constants;

describe.skipIf(!isRoot)("the mount API (needs root)", () => {
  let top: string;
  let topFd: number;
  const opened: number[] = [];
  const kept = (fd: number) => {
    opened.push(fd);
    return fd;
  };
  beforeAll(() => {
    top = mkdtempSync(join(tmpdir(), "zone-mount-"));
    topFd = openSync(top, O_PATH | O_DIRECTORY);
    for (const name of ["a", "b", "tree"]) mkdirSync(join(top, name));
    writeFileSync(join(top, "tree/file"), "of the tree");
    writeFileSync(join(top, "plain"), "");
  });
  afterEach(() => {
    for (const fd of opened.splice(0)) closeFd(fd);
    for (const name of ["a", "b", "plain"]) if (mountOptions(join(top, name))) unmountAt(topFd, name, MNT_DETACH);
  });
  afterAll(() => {
    closeFd(topFd);
    rmSync(top, { recursive: true });
  });
  const place = (name: string) => kept(openAt(topFd, name, O_PATH));
  const tmpfs = (attributes = 0) =>
    kept(
      fsMount(
        "tmpfs",
        [
          ["size", "1m"],
          ["mode", "0700"],
        ],
        attributes,
        "mine",
      ),
    );

  /** Options of the topmost mount at `path`, and the optional fields (propagation). */
  function mountOptions(path: string): string | undefined {
    const lines = readFileSync("/proc/self/mountinfo", "utf8").split("\n");
    const found = lines.filter((line) => line.split(" ")[4] === path).at(-1);
    return found?.split(" ").slice(5, found.split(" ").indexOf("-")).join(" ");
  }

  it("makes a file system that nobody sees, and puts it in its place", () => {
    const mount = tmpfs(MOUNT_ATTR.NOSUID | MOUNT_ATTR.NODEV | MOUNT_ATTR.NOEXEC);
    closeFd(openAt(mount, "inside", O_CREAT | O_WRONLY, 0o600));
    expect(readdirSync(join(top, "a"))).toEqual([]);
    moveMount(mount, place("a"));
    expect(readdirSync(join(top, "a"))).toEqual(["inside"]);
    expect(statSync(join(top, "a")).mode & 0o777).toBe(0o700);
    const { blocks, bsize } = statfsSync(join(top, "a"));
    expect(blocks * bsize).toBe(1 << 20);
    expect(mountOptions(join(top, "a"))).toMatch(/^rw,nosuid,nodev,noexec,relatime/);
    expect(readFileSync("/proc/self/mounts", "utf8")).toContain(`mine ${join(top, "a")} tmpfs`);
    expect(caught(() => moveMount(tmpfs(), place("plain")))).toMatchObject({ code: "EINVAL", syscall: "move_mount" });
  });

  it("says what the kernel found wrong", () => {
    expect(caught(() => fsMount("tmpfs", [["colour", "red"]], 0))).toMatchObject({
      code: "EINVAL",
      syscall: "fsconfig",
      path: "colour",
      kernelLog: [expect.stringMatching(/tmpfs: Unknown parameter 'colour'/)],
      message: expect.stringContaining("Unknown parameter"),
    });
    expect(caught(() => fsMount("tmpfs", [["size", "many"]], 0))).toMatchObject({
      code: "EINVAL",
      kernelLog: [expect.stringContaining("size")],
    });
    expect(caught(() => fsMount("nosuchfs", [], 0))).toMatchObject({
      code: "ENODEV",
      syscall: "fsopen",
      path: "nosuchfs",
    });
    expect(caught(() => fsMount("ext4", [], 0, "/no/such/disk"))).toMatchObject({
      code: "ENOENT",
      syscall: "fsconfig",
      kernelLog: expect.any(Array),
    });
    expect(caught(() => fsMount("tmpfs", [["size", "1".repeat(256)]], 0))).toMatchObject({ code: "ENAMETOOLONG" });
    const before = readdirSync("/proc/self/fd").length;
    for (let i = 0; i < 20; i++) caught(() => fsMount("tmpfs", [["colour", "red"]], 0));
    expect(readdirSync("/proc/self/fd").length).toBe(before);
  });

  it("binds a directory, a file, and what a descriptor is", () => {
    const bind = kept(openTree(join(top, "tree"), { clone: true }));
    setMountAttributes(bind, { set: MOUNT_ATTR.RDONLY | MOUNT_ATTR.NOATIME });
    moveMount(bind, place("a"));
    expect(readFileSync(join(top, "a/file"), "utf8")).toBe("of the tree");
    expect(caught(() => writeFileSync(join(top, "a/file"), "x"))).toMatchObject({ code: "EROFS" });
    writeFileSync(join(top, "tree/other"), "");
    expect(mountOptions(join(top, "a"))).toMatch(/^ro,noatime/);
    const file = kept(openTree("file", {}, place("tree")));
    moveMount(file, place("plain"));
    expect(readFileSync(join(top, "plain"), "utf8")).toBe("of the tree");
    moveMount(kept(openTree("", { recursive: true }, place("tree"))), place("b"));
    expect(existsSync(join(top, "b/file"))).toBe(true);
    symlinkSync("file", join(top, "tree/link"));
    expect(caught(() => openTree(join(top, "none"), {}))).toMatchObject({ code: "ENOENT", syscall: "open_tree" });
    // A copy of a link itself: its root is the link, which cannot be put onto a directory.
    const link = kept(openTree(join(top, "tree/link"), { noFollow: true }));
    expect(caught(() => moveMount(link, place("tree")))).toMatchObject({ syscall: "move_mount" });
  });

  it("changes attributes and propagation, of all that is below too", () => {
    moveMount(tmpfs(), place("a"));
    mkdirSync(join(top, "a/below"));
    moveMount(tmpfs(), kept(openSync(join(top, "a/below"), O_PATH)));
    const root = place("a");
    setMountAttributes(root, { set: MOUNT_ATTR.RDONLY | MOUNT_ATTR.STRICTATIME, recursive: true });
    expect(mountOptions(join(top, "a/below"))).toMatch(/^ro/);
    expect(mountOptions(join(top, "a/below"))).not.toMatch(/relatime/);
    setMountAttributes(root, { clear: MOUNT_ATTR.RDONLY | MOUNT_ATTR.STRICTATIME });
    expect(mountOptions(join(top, "a"))).toMatch(/^rw,relatime/);
    expect(mountOptions(join(top, "a/below"))).toMatch(/^ro/);
    setMountAttributes(root, { propagation: PROPAGATION.SHARED, recursive: true });
    expect(mountOptions(join(top, "a/below"))).toMatch(/shared:/);
    setMountAttributes(root, { propagation: PROPAGATION.PRIVATE });
    expect(mountOptions(join(top, "a"))).not.toMatch(/shared:/);
    expect(caught(() => setMountAttributes(place("tree"), { set: 1 }))).toMatchObject({
      code: "EINVAL",
      syscall: "mount_setattr",
    });
    expect(caught(() => setMountAttributes(root, { set: 0x4000_0000 }))).toMatchObject({ code: "EINVAL" });
  });

  it("changes what a file system was mounted with", () => {
    const mount = tmpfs();
    moveMount(mount, place("a"));
    reconfigureFs(mount, [["size", "2m"]]);
    const { blocks, bsize } = statfsSync(join(top, "a"));
    expect(blocks * bsize).toBe(2 << 20);
    expect(caught(() => reconfigureFs(mount, [["size", "x"]]))).toMatchObject({
      code: "EINVAL",
      kernelLog: [expect.stringContaining("size")],
    });
    expect(caught(() => reconfigureFs(place("tree"), [["size", "2m"]]))).toMatchObject({ syscall: "fspick" });
  });

  it("unmounts what it is told, busy or not, and through no link", () => {
    moveMount(tmpfs(), place("a"));
    for (const fd of opened.splice(0)) closeFd(fd);
    const busy = openSync(join(top, "a"), O_RDONLY);
    expect(caught(() => unmountAt(topFd, "a", 0))).toMatchObject({ code: "EBUSY", syscall: "umount2" });
    closeFd(busy);
    symlinkSync("a", join(top, "to-a"));
    expect(caught(() => unmountAt(topFd, "to-a", 0))).toMatchObject({ code: "EINVAL" });
    unmountAt(topFd, "a", 0);
    expect(mountOptions(join(top, "a"))).toBeUndefined();
    for (const name of ["", ".", "..", "a/b", "/"])
      expect(caught(() => unmountAt(topFd, name, 0))).toMatchObject({ code: "EINVAL" });

    moveMount(tmpfs(), place("a"));
    const root = place("a");
    expect(caught(() => unmountFd(root, 0))).toMatchObject({ code: "EBUSY" });
    unmountFd(root, MNT_DETACH);
    expect(mountOptions(join(top, "a"))).toBeUndefined();
    expect(caught(() => unmountFd(place("tree"), MNT_DETACH))).toMatchObject({ code: "EINVAL" });
  });
});
