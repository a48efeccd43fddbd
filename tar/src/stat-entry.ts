import type { BigIntStats } from "node:fs";
import type { SparseRegion } from "./sparse.js";
import type { TarEntry, TarKind } from "./tar-entry.js";

const NS = 1_000_000_000n;

/** The member that describes what stat(2) has said; a device's number is the caller's to add. */
export function statEntry(
  stat: BigIntStats,
  kind: TarKind,
  name: string,
  linkName = "",
  sparse?: readonly SparseRegion[],
): TarEntry {
  const nanoseconds = ((stat.mtimeNs % NS) + NS) % NS; // a time before 1970 has them too
  return {
    ...{ kind, name, linkName, sparse },
    mode: Number(stat.mode & 0o7777n),
    uid: Number(stat.uid),
    gid: Number(stat.gid),
    size: kind === "file" ? Number(stat.size) : 0,
    mtime: { seconds: Number((stat.mtimeNs - nanoseconds) / NS), nanoseconds: Number(nanoseconds) },
    ...{ major: 0, minor: 0 },
    xattrs: new Map(),
  };
}
