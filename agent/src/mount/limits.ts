const KIB = 1024;
const MIB = 1024 * KIB;

/** Every bound of the Mount service. Bytes and milliseconds unless the name says otherwise. */
export const MOUNT_LIMITS = {
  /** Mounts that the agent keeps: of the zone, and of all containers. */
  mounts: 4096,
  zoneMounts: 256,
  targetBytes: 4095,
  sourceBytes: 4095,
  /** Of virtio-fs (struct virtio_fs_config) and of 9p. */
  tagBytes: 36,
  options: 64,
  /** fsconfig(2) takes no longer value, its final NUL included. */
  optionBytes: 255,
  /** Each is handed to the kernel as /proc/self/fd/NUMBER, and all of them are one option. */
  overlayLayers: 12,
  waitMs: { default: 10_000, max: 120_000 },

  files: 1024,
  /** All of a mount's files: a request is at most 4 MiB in gRPC. */
  filesBytes: 3 * MIB,
  filePathBytes: 1024,
  nameBytes: 255,

  /** What copy_up takes: beyond it the mount fails with FILES_TOO_LARGE. */
  copyUpEntries: 200_000,
  copyUpBytes: 4 * KIB * MIB,
  copyUpDepth: 128,

  /** A freeze that nobody thaws ends by itself. */
  freezeMs: 600_000,
  /** Mount tables longer than this are refused; a container may make 100,000 mounts (fs.mount-max). */
  listedMounts: 10_000,
  mountInfoBytes: 16 * MIB,
} as const;
