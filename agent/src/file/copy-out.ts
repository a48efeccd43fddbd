import type { BigIntStats } from "node:fs";
import { statfsSync } from "node:fs";
import { closeFd, openAt, openInRoot, readlinkBytesAt, seekData, seekHole } from "@zone/native";
import { encodeEntry, type SparseRegion, statEntry, TAR_END, type TarKind, tarPadding } from "@zone/tar";
import { deviceNumber, O_PATH } from "../descriptors.js";
import { agentError, errnoOf } from "../errors.js";
import { O_NOFOLLOW, O_RDONLY, openRegular, readAt, statOf } from "./descriptors.js";
import { fileErrno, fileError } from "./file-error.js";
import type { FileInfo } from "./file-info.js";
import { FILE_LIMITS } from "./limits.js";
import { infoOf, openEntries } from "./look.js";
import { NameMap } from "./name-map.js";
import { invalidPath, splitPath } from "./path.js";
import type { Send } from "./read.js";
import { TarStream } from "./tar-stream.js";

export interface CopyOutWish {
  path: string;
  follow: boolean;
  /** Of the first member; empty: the path's last name. */
  name: string;
}

/** Sends what is at a path as a tar stream; `begin` is told what it is first. */
export async function copyOut(
  root: number,
  { path, follow, name }: CopyOutWish,
  begin: (info: FileInfo) => void,
  send: Send,
): Promise<void> {
  const fd = openInRoot(root, path, O_PATH | (follow ? 0 : O_NOFOLLOW));
  try {
    const stat = statOf(fd);
    const first = checkName(name, splitPath(path).name ?? ".");
    if (first === "." && !stat.isDirectory()) throw fileErrno("ENOTDIR", path, 'only a directory can be named "."');
    if (stat.isSocket()) throw fileErrno("ENXIO", path, "a socket cannot be copied");
    begin(infoOf(fd, path));
    const copy = new CopyOut(new TarStream(send), stat.dev);
    await copy.member(fd, stat, first, path, 0);
    await copy.finish();
  } finally {
    closeFd(fd);
  }
}

/** The first member's name, one character a byte. */
function checkName(wanted: string, usual: string): string {
  const name = wanted === "" ? usual : wanted;
  const parts = name.split("/");
  if (name !== "." && parts.some((part) => part === "" || part === "." || part === "..")) {
    throw invalidPath(name, 'a member\'s name is relative, and has no "." or ".." in it');
  }
  if (name.includes("\0") || Buffer.byteLength(name) > FILE_LIMITS.pathBytes)
    throw invalidPath(name, "no member has it");
  return Buffer.from(name).toString("latin1");
}

/** statfs(2) f_type of what the kernel makes up: proc, sysfs, cgroup2, cgroup, devpts, debugfs, tracefs, bpf, mqueue, securityfs. */
const MADE_UP = new Set([
  ...[0x9fa0, 0x62656572, 0x63677270, 0x27e0eb, 0x1cd1],
  ...[0x64626720, 0x74726163, 0xcafe4a11, 0x19800202, 0x73636673],
]);

class CopyOut {
  readonly #out: TarStream;
  readonly #device: bigint;
  /** Names of files that have several, by device and inode. */
  readonly #links = new NameMap<string>(FILE_LIMITS.hardLinks, FILE_LIMITS.hardLinkBytes);

  constructor(out: TarStream, device: bigint) {
    this.#out = out;
    this.#device = device;
  }

  async finish(): Promise<void> {
    await this.#out.bytes(TAR_END);
    await this.#out.end();
  }

  /** Writes what the O_PATH descriptor `fd` is, and a directory's content. `path` is for errors. */
  async member(fd: number, stat: BigIntStats, name: string, path: string, depth: number): Promise<void> {
    try {
      if (stat.isDirectory()) return await this.#directory(fd, stat, name, path, depth);
      if (stat.isSocket()) return;
      const linked = stat.nlink > 1n ? this.#linked(stat, name) : undefined;
      if (linked !== undefined) return await this.#out.bytes(headerOf(stat, "hardlink", name, linked));
      if (stat.isFile()) return await this.#file(fd, name, path);
      if (stat.isSymbolicLink()) {
        return await this.#out.bytes(headerOf(stat, "symlink", name, readlinkBytesAt(fd).toString("latin1")));
      }
      const kind = stat.isFIFO() ? "fifo" : stat.isBlockDevice() ? "block" : "character";
      await this.#out.bytes(headerOf(stat, kind, name, ""));
    } catch (error) {
      throw fileError(error, path);
    }
  }

  async #directory(fd: number, stat: BigIntStats, name: string, path: string, depth: number): Promise<void> {
    if (depth > FILE_LIMITS.depth) throw agentTooDeep(path);
    await this.#out.bytes(headerOf(stat, "directory", `${name}/`, ""));
    if (stat.dev !== this.#device && isMadeUp(fd)) return;
    const entries = openEntries(fd);
    try {
      for (let entry = entries.next(); entry !== undefined; entry = entries.next()) {
        const below = openEntry(fd, entry);
        if (below === undefined) continue;
        try {
          const latin1 = `${name}/${entry.toString("latin1")}`;
          await this.member(below, statOf(below), latin1, `${path}/${entry.toString()}`, depth + 1);
        } finally {
          closeFd(below);
        }
      }
    } finally {
      entries.close();
    }
  }

  /** The name under which the same file has been written; otherwise it is remembered. */
  #linked(stat: BigIntStats, name: string): string | undefined {
    const key = `${stat.dev}:${stat.ino}`;
    const first = this.#links.get(key);
    if (first === undefined) this.#links.set(key, name, name);
    return first;
  }

  async #file(found: number, name: string, path: string): Promise<void> {
    const fd = openRegular(found, O_RDONLY, path);
    try {
      const stat = statOf(fd);
      const size = Number(stat.size);
      const regions = stat.blocks * 512n < stat.size ? regionsOf(fd, size) : undefined;
      await this.#out.bytes(headerOf(stat, "file", name, "", regions));
      let written = 0;
      for (const { offset, length } of regions ?? [{ offset: 0, length: size }]) {
        await this.#out.fill(length, (buffer, from, to, done) => readAt(fd, buffer, from, to, offset + done));
        written += length;
      }
      await this.#out.bytes(tarPadding(written));
    } finally {
      closeFd(fd);
    }
  }
}

/** Undefined when it has gone. */
function openEntry(dir: number, name: Uint8Array): number | undefined {
  try {
    return openAt(dir, name, O_PATH | O_NOFOLLOW);
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw error;
  }
}

function isMadeUp(fd: number): boolean {
  return MADE_UP.has(statfsSync(`/proc/self/fd/${fd}/.`).type);
}

/** Where a file has data; undefined when that is all of it. */
function regionsOf(fd: number, size: number): SparseRegion[] | undefined {
  const regions: SparseRegion[] = [];
  for (let at = 0; at < size; ) {
    const offset = seekData(fd, at);
    if (offset < 0 || offset >= size) break;
    const hole = regions.length >= FILE_LIMITS.sparseRegions ? size : seekHole(fd, offset);
    at = hole < 0 ? size : Math.min(hole, size);
    if (at > offset) regions.push({ offset, length: at - offset });
  }
  const [only] = regions;
  return regions.length === 1 && only?.length === size ? undefined : regions;
}

function headerOf(
  stat: BigIntStats,
  kind: TarKind,
  name: string,
  linkName: string,
  sparse?: readonly SparseRegion[],
): Buffer {
  const isDevice = kind === "block" || kind === "character";
  return encodeEntry({
    ...statEntry(stat, kind, name, linkName, sparse),
    ...(isDevice ? deviceNumber(stat.rdev) : {}),
  });
}

function agentTooDeep(path: string): Error {
  const message = `${JSON.stringify(path.slice(0, 200))}...: directories lie more than ${FILE_LIMITS.depth} deep in each other`;
  return agentError("INTERNAL", "FILE_FAILED", message, { metadata: { path: path.slice(0, 200), errno: "EMFILE" } });
}
