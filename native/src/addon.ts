import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

/** A uv_poll_t of the addon. */
export interface PollHandle {
  readonly brand: unique symbol;
}

/** A filter that libseccomp is building. */
export interface SeccompHandle {
  readonly brand: unique symbol;
}

/** What fsCall() does; the numbers are those of `calls` in filesystems.c. */
export type FsCall = 0 | 1 | 2 | 3 | 4 | 5 | 6;

type Name = string | Uint8Array;

/** What zone.node (native/c/addon) exports. The functions throw Error with code, errno and syscall. */
export interface Addon {
  pipe(): { read: number; write: number };
  socketPair(seqpacket: boolean): [number, number];
  dup(fd: number): number;
  closeFd(fd: number): void;
  memfd(name: string, contents: Uint8Array): number;
  memfdFromFile(name: string, path: string): number;
  openPty(rows: number, columns: number): { master: number; slave: number };
  openPtySlave(master: number, rows: number, columns: number): number;
  setWindowSize(fd: number, rows: number, columns: number): void;
  ttyEofCharacter(fd: number): number;
  mount(source: string, target: string, type: string, flags: number, data: string): void;
  unmount(target: string, flags: number): void;
  makeNode(path: string, mode: number, major: number, minor: number): void;
  setTime(unixMs: number): void;
  addEntropy(bytes: Uint8Array): void;
  setHostname(name: string): void;
  loadModule(path: string, parameters: string): void;
  peerCredentials(fd: number): { pid: number; uid: number; gid: number };

  openInRoot(rootFd: number, path: Name, flags: number, mode: number, resolve: number): number;
  openAt(dirFd: number, name: Name, flags: number, mode: number): number;
  renameAt(fromDirFd: number, from: Name, toDirFd: number, to: Name, flags: number): void;
  mkdirAt(dirFd: number, name: Name, mode: number): void;
  unlinkAt(dirFd: number, name: Name, directory: boolean): void;
  symlinkAt(target: Name, dirFd: number, name: Name): void;
  linkAt(fd: number, dirFd: number, name: Name): void;
  chownAt(fd: number, uid: number, gid: number): void;
  mknodAt(dirFd: number, name: Name, mode: number, major: number, minor: number): void;
  readlinkAt(fd: number): Buffer;
  setTimes(fd: number, atime: bigint, atimeNs: number, mtime: bigint, mtimeNs: number): void;
  seekSparse(fd: number, offset: number, hole: boolean): number;

  fsOpen(type: string): number;
  fsPick(fd: number): number;
  /** A flag when there is no value. */
  fsConfig(context: number, key: string, value: string | undefined): void;
  fsCreate(context: number): void;
  fsReconfigure(context: number): void;
  fsMount(context: number, attributes: number): number;
  openTree(dirFd: number, path: string, recursive: boolean, clone: boolean, noFollow: boolean): number;
  moveMount(mountFd: number, targetFd: number): void;
  setMountAttributes(fd: number, set: number, clear: number, propagation: number, recursive: boolean): void;

  fsCall(call: FsCall, fd: number, argument: bigint): bigint;
  fsCallAsync(call: FsCall, fd: number, argument: bigint): Promise<bigint>;
  blockDeviceBytes(fd: number): number;

  netlinkOpen(protocol: number, groups: number): number;
  netlinkSend(fd: number, message: Uint8Array): void;
  /** The length of one datagram, 0 when it is not the kernel's, undefined when there is none. */
  netlinkReceive(fd: number, buffer: Uint8Array): number | undefined;

  attachDevicePolicy(cgroupFd: number, rules: Uint32Array, defaultAllow: boolean): void;
  detachDevicePolicy(cgroupFd: number): void;

  seccompOpen(defaultAction: number): SeccompHandle;
  /** False when libseccomp does not know it. */
  seccompArchitecture(filter: SeccompHandle, name: string): boolean;
  /** `conditions`: index, comparison, value, second value; each. A name that libseccomp does not know is skipped. */
  seccompRule(filter: SeccompHandle, action: number, name: string, conditions: BigUint64Array): void;
  seccompExport(filter: SeccompHandle): Buffer;
  seccompClose(filter: SeccompHandle): void;

  /** Throws EPERM when the event loop cannot wait for the descriptor (a file, /dev/null). */
  assertPollable(fd: number): void;
  /** Reads until the buffer is full or the descriptor would block: bytes, 0 when it would block, -1 at EOF (or EIO). */
  readAvailable(fd: number, buffer: Uint8Array): number;
  /** Sends one packet with descriptors; false when it would block. */
  sendPacket(fd: number, bytes: Uint8Array, fds: readonly number[]): boolean;
  /** Takes one packet: its length (0: the peer is gone) and descriptors; undefined when it would block. */
  receivePacket(fd: number, buffer: Uint8Array): { length: number; fds: number[] } | undefined;

  inotifyOpen(): number;
  /** The watch's number. */
  inotifyWatch(fd: number, path: string, mask: number): number;

  vsockSocket(): number;
  /** True when connected, false when it is under way (wait for writable, then socketError). */
  vsockConnect(fd: number, cid: number, port: number): boolean;
  /** Binds and listens on any CID; the port that it got. */
  vsockListen(fd: number, port: number): number;
  vsockAccept(fd: number): { fd: number; cid: number; port: number } | undefined;
  vsockLocalCid(): number;
  /** Throws the socket's pending error (SO_ERROR), if there is one. */
  socketError(fd: number): void;

  /** Calls back with (error, events) until pollStop. `events`: POLL_READABLE | POLL_WRITABLE. The descriptor stays the caller's. */
  pollStart(fd: number, events: number, callback: (error: Error | undefined, events: number) => void): PollHandle;
  pollUpdate(handle: PollHandle, events: number): void;
  pollStop(handle: PollHandle): void;
}

export const POLL_READABLE = 1;
export const POLL_WRITABLE = 2;

let loaded: Addon | undefined;

/** The addon, loaded at its first use. Throws, with what to do, when it is not there. */
export function addon(): Addon {
  loaded ??= load(process.env.ZONE_NATIVE);
  return loaded;
}

function load(explicit: string | undefined): Addon {
  // Beside the running bundle in a zone; from native/{src,dist}; from a bundle in PACKAGE/build of the repository.
  const beside = ["./zone.node", "../build/zone.node", "../../native/build/zone.node"];
  const candidates = explicit ? [explicit] : beside.map((path) => fileURLToPath(new URL(path, import.meta.url)));
  const path = candidates.find((candidate) => existsSync(candidate));
  if (!path) {
    throw new Error(
      `cannot find the native addon at ${candidates.join(" or ")}: build it with "make -C native", or name it in ZONE_NATIVE`,
    );
  }
  return createRequire(import.meta.url)(path) as Addon;
}
