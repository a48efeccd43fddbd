import { execFileSync } from "node:child_process";
import {
  constants,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statfsSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { closeFd, memfd } from "./descriptors.js";
import { openAt } from "./files.js";
import {
  blockDeviceBytes,
  freezeFsAsync,
  growXfsAsync,
  resizeExt4Async,
  syncAllAsync,
  syncFsAsync,
  thawFs,
  thawFsAsync,
  trimFsAsync,
} from "./filesystems.js";
import { fsMount, moveMount, unmountAt } from "./mount-api.js";
import { MNT_DETACH } from "./system.js";
import { caught } from "./testing/caught.js";

const MIB = 1 << 20;
/** XFS wants 300 MiB; the files are sparse. */
const SMALL = 320 * MIB;
const LARGE = 640 * MIB;

/** A loop device that is used as the test needs it: tools, root, and a kernel that has it. */
const hasLoop = (() => {
  try {
    execFileSync("losetup", ["-f"], { stdio: "ignore" });
    return process.getuid?.() === 0;
  } catch {
    return false;
  }
})();

/** CAP_SYS_RESOURCE, which ext4 asks for: root of some hosts lacks it. */
const maySetResources =
  ((Number.parseInt(/CapEff:\s*(\w+)/.exec(readFileSync("/proc/self/status", "utf8"))?.[1]?.slice(-8) ?? "", 16) >>>
    24) &
    1) ===
  1;

describe("calls on a file system", { timeout: 120_000 }, () => {
  let top: string;
  let topFd: number;
  const opened: number[] = [];
  const loops: string[] = [];
  const kept = (fd: number) => {
    opened.push(fd);
    return fd;
  };
  beforeAll(() => {
    top = mkdtempSync(join(tmpdir(), "zone-fs-"));
    mkdirSync(join(top, "at"));
    topFd = openSync(top, constants.O_RDONLY | constants.O_DIRECTORY);
  });
  afterEach(() => {
    for (const fd of opened.splice(0)) closeFd(fd);
    if (loops.length > 0) unmountAt(topFd, "at", MNT_DETACH);
    for (const loop of loops.splice(0)) execFileSync("losetup", ["-d", loop]);
  });
  afterAll(() => {
    closeFd(topFd);
    rmSync(top, { recursive: true });
  });

  /** Makes a file system on a disk that has grown since, and mounts it. */
  function mountGrown(type: "ext4" | "xfs"): { root: number; device: number } {
    const file = join(top, type);
    writeFileSync(file, "");
    truncateSync(file, SMALL);
    execFileSync(`mkfs.${type}`, ["-q", file]);
    const loop = execFileSync("losetup", ["-f", "--show", file], { encoding: "utf8" }).trim();
    loops.push(loop);
    const mount = kept(fsMount(type, [], 0, loop));
    moveMount(mount, kept(openAt(topFd, "at", constants.O_RDONLY)));
    truncateSync(file, LARGE);
    execFileSync("losetup", ["-c", loop]);
    return { root: kept(openAt(topFd, "at", constants.O_RDONLY)), device: kept(openSync(loop, "r")) };
  }
  const size = () => {
    const { blocks, bsize } = statfsSync(join(top, "at"));
    return { blocks, bsize, bytes: blocks * bsize };
  };

  it.skipIf(!hasLoop || !existsSync("/usr/sbin/mkfs.ext4"))(
    "grows ext4, freezes and trims it (needs root, loop)",
    async () => {
      const { root, device } = mountGrown("ext4");
      expect(blockDeviceBytes(device)).toBe(LARGE);
      const { bsize, bytes } = size();
      expect(bytes).toBeLessThan(SMALL);
      if (maySetResources) {
        await resizeExt4Async(root, BigInt(LARGE / bsize));
        expect(size().bytes).toBeGreaterThan(SMALL);
        await expect(resizeExt4Async(root, BigInt((LARGE * 4) / bsize))).rejects.toMatchObject({
          syscall: "EXT4_IOC_RESIZE_FS",
        });
        await resizeExt4Async(root, BigInt(LARGE / bsize));
      } else {
        await expect(resizeExt4Async(root, BigInt(LARGE / bsize))).rejects.toMatchObject({ code: "EPERM" });
      }

      await freezeFsAsync(root);
      await expect(freezeFsAsync(root)).rejects.toMatchObject({ code: "EBUSY", syscall: "FIFREEZE" });
      thawFs(root);
      expect(caught(() => thawFs(root))).toMatchObject({ code: "EINVAL", syscall: "FITHAW" });
      await freezeFsAsync(root);
      await thawFsAsync(root);
      writeFileSync(join(top, "at/file"), "written after the thaw");

      // The loop device passes a discard on as a hole in its file.
      expect(await trimFsAsync(root, 0)).toBeGreaterThan(100 * MIB);
      // It knows which groups it has trimmed already.
      expect(await trimFsAsync(root, MIB)).toBeLessThan(MIB);
      await expect(trimFsAsync(root, LARGE)).rejects.toMatchObject({ code: "EINVAL", syscall: "FITRIM" });
      await syncFsAsync(root);
      await syncFsAsync(root);
    },
  );

  it.skipIf(!hasLoop || !existsSync("/usr/sbin/mkfs.xfs"))("grows XFS (needs root, loop)", async () => {
    const { root } = mountGrown("xfs");
    const { bsize, bytes } = size();
    await growXfsAsync(root, BigInt(LARGE / bsize));
    expect(size().bytes).toBeGreaterThan(bytes + 200 * MIB);
    await expect(growXfsAsync(root, 2n ** 50n)).rejects.toMatchObject({ syscall: "XFS_IOC_FSGROWFSDATA" });
  });

  it("says what is none, on this thread and on another", async () => {
    const file = kept(memfd("file", Buffer.alloc(1)));
    expect(caught(() => blockDeviceBytes(file))).toMatchObject({ code: "ENOTTY", syscall: "BLKGETSIZE64" });
    await expect(resizeExt4Async(file, 1n)).rejects.toMatchObject({ code: "ENOTTY" });
    await expect(growXfsAsync(file, 1n)).rejects.toMatchObject({ code: "ENOTTY" });
    expect(caught(() => thawFs(99_999))).toMatchObject({ code: "EBADF", syscall: "FITHAW" });
    await expect(growXfsAsync(file, 1n)).rejects.toMatchObject({ code: "ENOTTY", syscall: "XFS_IOC_FSGROWFSDATA" });
    await expect(syncFsAsync(99_999)).rejects.toMatchObject({ code: "EBADF" });
    await expect(trimFsAsync(file, -1)).rejects.toMatchObject({ code: "ERR_OUT_OF_RANGE" });
    await expect(resizeExt4Async(file, 2n ** 64n)).rejects.toMatchObject({ code: "ERR_OUT_OF_RANGE" });
  });

  it("writes out", async () => {
    await syncAllAsync();
    await syncAllAsync();
    await syncFsAsync(topFd);
    // The descriptor may be closed while it works.
    const fd = openSync(top, "r");
    const pending = syncFsAsync(fd);
    closeFd(fd);
    await pending;
  });
});
