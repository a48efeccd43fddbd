import { addon, type FsCall } from "./addon.js";

/*
 * Calls on a whole file system, by a descriptor of anything in it (`blockDeviceBytes`: of a device), which must not be O_PATH
 * (EBADF). They take as long as the disk does, up to many seconds: so they run on libuv's thread pool, with a duplicate of the
 * descriptor.
 */

/** Call numbers of filesystems.c. */
const CALL = {
  freeze: 0,
  thaw: 1,
  trim: 2,
  resizeExt4: 3,
  growXfs: 4,
  syncFs: 5,
  syncAll: 6,
} as const satisfies Record<string, FsCall>;

/** Writes everything out and stops all writers until the thaw. EBUSY when it is frozen already. ioctl FIFREEZE, ioctl_fs(2). */
export async function freezeFsAsync(fd: number): Promise<void> {
  await addon().fsCallAsync(CALL.freeze, fd, 0n);
}

/** Lets writers go on. EINVAL when it is not frozen. FITHAW. */
export async function thawFsAsync(fd: number): Promise<void> {
  await addon().fsCallAsync(CALL.thaw, fd, 0n);
}

/** The same on this thread: for who must not go on before. A thaw has nothing to write. */
export function thawFs(fd: number): void {
  addon().fsCall(CALL.thaw, fd, 0n);
}

/** Tells the device of all unused extents of at least that many bytes; the bytes that were discarded. EOPNOTSUPP; EINVAL for more bytes than a group of ext4 has. FITRIM, fstrim(8). */
export async function trimFsAsync(fd: number, minimumBytes: number): Promise<number> {
  return Number(await addon().fsCallAsync(CALL.trim, fd, BigInt(minimumBytes)));
}

/** Grows a mounted ext4 to so many of its blocks (statfs bsize). ENOSPC or EINVAL when the device is smaller. EXT4_IOC_RESIZE_FS, resize2fs(8). */
export async function resizeExt4Async(fd: number, blocks: bigint): Promise<void> {
  await addon().fsCallAsync(CALL.resizeExt4, fd, blocks);
}

/** Grows a mounted XFS to so many of its blocks; its share of inodes stays. XFS_IOC_FSGROWFSDATA, xfs_growfs(8). */
export async function growXfsAsync(fd: number, blocks: bigint): Promise<void> {
  await addon().fsCallAsync(CALL.growXfs, fd, blocks);
}

/** Writes out one file system; rejects with EIO when writing failed. syncfs(2). */
export async function syncFsAsync(fd: number): Promise<void> {
  await addon().fsCallAsync(CALL.syncFs, fd, 0n);
}

/** Writes out all file systems. sync(2). */
export async function syncAllAsync(): Promise<void> {
  await addon().fsCallAsync(CALL.syncAll, -1, 0n);
}

/** The size of a block device. ENOTTY when it is none. ioctl BLKGETSIZE64. */
export function blockDeviceBytes(fd: number): number {
  return addon().blockDeviceBytes(fd);
}
