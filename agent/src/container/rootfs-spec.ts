import type { zone } from "@zone/proto";
import { invalid } from "../errors.js";
import { LIMITS } from "../limits.js";
import { checkPlace } from "../mount/check-mount.js";
import { exactInteger } from "../numbers.js";

/** Where a container's root comes from. */
export type RootSource =
  | { kind: "disk"; serial: string; fsType: "erofs" | "squashfs"; waitMs: number }
  /** "zone:NAME[/PATH]"; `direct`: it is the root itself and no layer below it. */
  | { kind: "mount"; source: string; direct: boolean }
  | { kind: "empty" };

export interface RootfsSpec {
  source: RootSource;
  readOnly: boolean;
  /** Undefined: half of the zone's memory. */
  writableBytes: number | undefined;
}

/** Throws INVALID_ROOTFS. */
export function checkRootfs(rootfs: zone.agent.v1.Rootfs.$Properties): RootfsSpec {
  const writableBytes = exactInteger(rootfs.writableBytes);
  if (writableBytes === undefined)
    throw invalid("INVALID_ROOTFS", `writable_bytes is ${rootfs.writableBytes}, which is larger than can be counted`);
  if (writableBytes !== 0 && writableBytes < LIMITS.writableBytesMin) {
    throw invalid(
      "INVALID_ROOTFS",
      `writable_bytes is ${writableBytes}; at least ${LIMITS.writableBytesMin} are needed`,
    );
  }
  return {
    source: checkSource(rootfs),
    readOnly: rootfs.readOnly ?? false,
    writableBytes: writableBytes === 0 ? undefined : writableBytes,
  };
}

function checkSource(rootfs: zone.agent.v1.Rootfs.$Properties): RootSource {
  const { source, empty, direct, blockSerial, fsType, writableBytes } = rootfs;
  if ([source, empty, blockSerial].filter(Boolean).length > 1)
    throw invalid("INVALID_ROOTFS", "a rootfs has one of block_serial, source and empty");
  if (direct && !source) throw invalid("INVALID_ROOTFS", "direct is for a source: a disk and an empty root have none");
  if (direct && writableBytes)
    throw invalid("INVALID_ROOTFS", "a direct source has no writable layer: writable_bytes means nothing");
  if (!blockSerial && fsType && (source || empty))
    throw invalid("INVALID_ROOTFS", "fs_type is for a disk: this rootfs has none");
  if (source) {
    checkZoneSource(source);
    return { kind: "mount", source, direct: direct ?? false };
  }
  return empty ? { kind: "empty" } : checkDisk(rootfs);
}

/** checkPlace says INVALID_MOUNT of what is no place, which here is the root. */
function checkZoneSource(source: string): void {
  try {
    checkPlace(source, "zone");
  } catch {
    throw invalid("INVALID_ROOTFS", `source is "${source.slice(0, 80)}"; it must be "zone:NAME" or "zone:NAME/PATH"`);
  }
}

function checkDisk(rootfs: zone.agent.v1.Rootfs.$Properties): RootSource {
  const serial = rootfs.blockSerial ?? "";
  if (!/^[!-~]+$/.test(serial) || serial.length > LIMITS.blockSerialBytes) {
    throw invalid("INVALID_ROOTFS", `block_serial must be 1 to ${LIMITS.blockSerialBytes} printable ASCII characters`);
  }
  const { fsType } = rootfs;
  if (fsType !== "erofs" && fsType !== "squashfs") {
    throw invalid("INVALID_ROOTFS", `fs_type is "${fsType?.slice(0, 40) ?? ""}"; it must be "erofs" or "squashfs"`);
  }
  const waitMs = rootfs.waitMs || LIMITS.deviceWaitMs.default;
  if (waitMs > LIMITS.deviceWaitMs.max) {
    throw invalid("INVALID_ROOTFS", `wait_ms is ${waitMs}; at most ${LIMITS.deviceWaitMs.max} are allowed`);
  }
  return { kind: "disk", serial, fsType, waitMs };
}
