import type { SparseRegion } from "./sparse.js";

export type TarKind = "file" | "hardlink" | "symlink" | "character" | "block" | "directory" | "fifo";

/** One member of a tar archive. Names and targets have one character a byte, as they stand in the archive. */
export interface TarEntry {
  kind: TarKind;
  name: string;
  /** Of a hard or symbolic link. */
  linkName: string;
  /** Permission bits with setuid, setgid and sticky. */
  mode: number;
  uid: number;
  gid: number;
  /** Of the file, holes included, in bytes; 0 for all but files. */
  size: number;
  /** Where a sparse file has data, ascending, not overlapping; undefined when all of it is in the archive. */
  sparse: readonly SparseRegion[] | undefined;
  mtime: { seconds: number; nanoseconds: number };
  major: number;
  minor: number;
  /** By full name, such as "security.capability". */
  xattrs: ReadonlyMap<string, Buffer>;
}
