import { execFileSync } from "node:child_process";

/** All that a folder has, for comparison: types, modes, owners, times, links, contents. */
export function listing(path: string): string[] {
  const program = `
import hashlib, os, stat, sys
first = {}
for base, dirs, files in os.walk(sys.argv[1].encode()):
  dirs.sort()
  for name in sorted(dirs + files) + [b'.']:
    p = os.path.join(base, name); s = os.lstat(p); rel = os.path.relpath(p, sys.argv[1].encode())
    kind = stat.S_IFMT(s.st_mode)
    what = hashlib.sha256(open(p, 'rb').read()).hexdigest() if kind == stat.S_IFREG else os.readlink(p) if kind == stat.S_IFLNK else ''
    time = s.st_mtime_ns
    print(rel, oct(s.st_mode), s.st_uid, s.st_gid, time, what, first.setdefault(s.st_ino, rel) if s.st_nlink > 1 and kind != stat.S_IFDIR else '')`;
  const listed = execFileSync("python3", ["-c", program, path], { encoding: "utf8", maxBuffer: 1 << 28 });
  return listed
    .split("\n")
    .filter((line) => line !== "")
    .sort();
}
