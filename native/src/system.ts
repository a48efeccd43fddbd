import { addon } from "./addon.js";

/** Flags of mount(2), <linux/mount.h>. */
export const MS = {
  RDONLY: 1,
  NOSUID: 2,
  NODEV: 4,
  NOEXEC: 8,
  SYNCHRONOUS: 16,
  REMOUNT: 32,
  NOSYMFOLLOW: 256,
  NOATIME: 1024,
  NODIRATIME: 2048,
  BIND: 4096,
  MOVE: 8192,
  REC: 16384,
  SILENT: 32768,
  UNBINDABLE: 1 << 17,
  PRIVATE: 1 << 18,
  SLAVE: 1 << 19,
  SHARED: 1 << 20,
  RELATIME: 1 << 21,
  STRICTATIME: 1 << 24,
} as const;

/** Flags of umount2(2). */
export const MNT_DETACH = 2;
export const UMOUNT_NOFOLLOW = 8;

/** mount(2). The error names the target. */
export function mount(source: string, target: string, type: string, flags: number, data: string): void {
  addon().mount(source, target, type, flags, data);
}

/** umount2(2). */
export function unmount(target: string, flags: number): void {
  addon().unmount(target, flags);
}

/** mknod(2): `mode` holds the type (S_IFCHR...) and the permissions, which umask does not touch. */
export function makeNode(path: string, mode: number, major: number, minor: number): void {
  addon().makeNode(path, mode, major, minor);
}

/** Sets the system's clock. clock_settime(2). */
export function setTime(unixMs: number): void {
  addon().setTime(unixMs);
}

/** Mixes `bytes` (at most 4096) into the kernel's pool, credits them, and reseeds. random(4) RNDADDENTROPY, RNDRESEEDCRNG. */
export function addEntropy(bytes: Uint8Array): void {
  addon().addEntropy(bytes);
}

/** Sets the caller's UTS host name. sethostname(2). */
export function setHostname(name: string): void {
  addon().setHostname(name);
}

/** Loads a kernel module from an uncompressed file; nothing happens when it is loaded already. finit_module(2). */
export function loadModule(path: string, parameters = ""): void {
  addon().loadModule(path, parameters);
}
