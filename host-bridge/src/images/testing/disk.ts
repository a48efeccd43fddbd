import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DEFAULT_LIMITS } from "../limits.js";
import type { PullContext } from "../pull-context.js";
import { buildDisk } from "../unpack.js";

/** Whether this machine lets the test mount what the product never mounts. */
export const canMount =
  process.getuid?.() === 0 &&
  existsSync("/dev/loop-control") &&
  /\terofs$/m.test(readFileSync("/proc/filesystems", "utf8"));

/** Makes the disk of an image whose layers are given as tars; answers with its path. */
export async function diskOf(directory: string, layers: Buffer[], options: Partial<PullContext> = {}): Promise<string> {
  const path = join(directory, "disk.erofs");
  const blobs = layers.map((layer, index) => {
    const blob = join(directory, `layer-${index}.tar`);
    writeFileSync(blob, layer);
    return { path: blob, diffId: undefined };
  });
  await buildDisk(path, blobs, createHash("sha256").update("test").digest().subarray(0, 16), {
    limits: DEFAULT_LIMITS,
    freeBytes: 2 ** 40,
    progress: () => undefined,
    signal: new AbortController().signal,
    ...options,
  });
  return path;
}

/** What the kernel sees of a file system: one node a path, from the root. Names have one character a byte. */
export interface Seen {
  kind: string;
  mode: number;
  uid: number;
  gid: number;
  mtime: string;
  links: number;
  /** Equal for hard links of each other. */
  inode: number;
  rdev: string;
  /** SHA-256 of a file's content, or a link's target. */
  content: string;
  size: number;
  xattrs: Record<string, string>;
}

const LOOK = `
import hashlib, json, os, stat, sys
root = os.fsencode(sys.argv[1])
seen = {}
def look(path, name):
    s = os.lstat(path)
    kind = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink", stat.S_IFCHR: "character",
            stat.S_IFBLK: "block", stat.S_IFIFO: "fifo"}[stat.S_IFMT(s.st_mode)]
    content = ""
    if kind == "file":
        with open(path, "rb") as f: content = hashlib.sha256(f.read()).hexdigest()
    if kind == "symlink": content = os.readlink(path).decode("latin1")
    xattrs = {a: os.getxattr(path, a, follow_symlinks=False).hex() for a in os.listxattr(path, follow_symlinks=False)}
    seen[name.decode("latin1")] = dict(kind=kind, mode=stat.S_IMODE(s.st_mode), uid=s.st_uid, gid=s.st_gid, size=s.st_size,
        mtime=str(s.st_mtime_ns), links=s.st_nlink, inode=s.st_ino, content=content, xattrs=xattrs,
        rdev="%d:%d" % (os.major(s.st_rdev), os.minor(s.st_rdev)))
    if kind == "directory":
        for child in sorted(os.listdir(path)): look(os.path.join(path, child), child if name == b"" else name + b"/" + child)
look(root, b"")
json.dump(seen, sys.stdout)
`;

/** Mounts a disk, read-only, and tells what is in it; also lets fsck.erofs check it. Needs root. */
export function look(disk: string): Record<string, Seen> {
  execFileSync("fsck.erofs", [disk], { stdio: "pipe" });
  const at = `${disk}.mounted`;
  mkdirSync(at);
  execFileSync("mount", ["-t", "erofs", "-o", "ro,loop", disk, at], { stdio: "pipe" });
  try {
    return lookAt(at);
  } finally {
    execFileSync("umount", [at]);
  }
}

/** Tells what is in a folder. */
export function lookAt(folder: string): Record<string, Seen> {
  const json = execFileSync("python3", ["-c", LOOK, folder], { encoding: "utf8", maxBuffer: 1 << 30 });
  return JSON.parse(json) as Record<string, Seen>;
}
