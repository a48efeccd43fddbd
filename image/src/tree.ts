/** Who made a file: a Debian package, this project, or something on the build host that no package owns. */
export type Origin =
  | { kind: "debian"; package: string; version: string }
  | { kind: "zone-agent" }
  | { kind: "host"; path: string };

interface EntryBase {
  /** Relative to the root of the tree, without a leading slash. */
  path: string;
  /** Permission bits. */
  mode: number;
}

/** One name in a tree that goes into an image. Everything belongs to root and bears the time 0. */
export type Entry =
  | (EntryBase & { kind: "directory" })
  | (EntryBase & { kind: "file"; content: Uint8Array; origin: Origin; why: string })
  | (EntryBase & { kind: "character-device"; major: number; minor: number });

/** A file entry. */
export type FileEntry = Extract<Entry, { kind: "file" }>;

export function directory(path: string, mode = 0o755): Entry {
  return { kind: "directory", path, mode };
}

/** `path` is where the file goes; modes other than 0644 and 0755 have no place in a read-only image of root's. */
export function file(path: string, content: Uint8Array | string, origin: Origin, why: string, mode = 0o644): FileEntry {
  const bytes = typeof content === "string" ? Buffer.from(content) : content;
  return { kind: "file", path, mode, content: bytes, origin, why };
}

/**
 * The entries in byte order of their paths, with the folders that they need and that are not listed themselves. A folder
 * comes before what is in it. Throws a RangeError when a path is there twice or is not plain and relative.
 */
export function complete(entries: readonly Entry[]): Entry[] {
  const byPath = new Map<string, Entry>();
  for (const entry of entries) {
    if (!isPlain(entry.path)) throw new RangeError(`"${entry.path}" is not a plain relative path`);
    if (byPath.has(entry.path)) throw new RangeError(`"${entry.path}" is in the tree twice`);
    byPath.set(entry.path, entry);
  }
  for (const { path } of entries)
    for (let end = path.lastIndexOf("/"); end > 0; end = path.lastIndexOf("/", end - 1)) {
      const parent = path.slice(0, end);
      const there = byPath.get(parent);
      if (there === undefined) byPath.set(parent, directory(parent));
      else if (there.kind !== "directory") throw new RangeError(`"${path}" lies in "${parent}", which is no folder`);
    }
  return [...byPath.values()].sort((a, b) => Buffer.compare(Buffer.from(a.path), Buffer.from(b.path)));
}

function isPlain(path: string): boolean {
  return !path.includes("\0") && path.split("/").every((part) => part !== "" && part !== "." && part !== "..");
}

/** An origin in one word or two: "libc6 2.36-9", "zone-agent", "host /opt/node". */
export function formatOrigin(origin: Origin): string {
  switch (origin.kind) {
    case "debian":
      return `${origin.package} ${origin.version}`;
    case "zone-agent":
      return "zone-agent";
    case "host":
      return `host ${origin.path}`;
  }
}
