/** Bounds of the Cgroup service. */
export const CGROUP_LIMITS = {
  /** Known cgroups, containers' included: each has two inotify watches. */
  cgroups: 1024,
  depth: 8,
  nameLength: 64,
  ioDevices: 64,
  /** Seconds that PSI and memory.stat lines can grow to in bytes; what a file of cgroupfs has beyond is not read. */
  fileBytes: 64 * 1024,
  /** Victims that are remembered until the event of their cgroup comes. */
  victims: 256,
  /** Of /dev/kmsg; printk's own limit is 1,024 for the text. */
  kmsgRecordBytes: 8192,
} as const;
