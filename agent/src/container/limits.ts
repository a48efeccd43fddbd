/** Bounds of what a container's request may hold. */
export const CONTAINER_LIMITS = {
  devices: 256,
  mounts: 256,
  sysctls: 64,
  sysctlValueBytes: 1024,
  paths: 1024,
  annotations: 256,
  /** Of all names and values together. */
  annotationBytes: 256 * 1024,
  dnsSearches: 32,
  dnsOptions: 32,
  dnsOptionBytes: 64,
  shmBytes: 64 * 1024 * 1024,
  ociConfigBytes: 1024 * 1024,
  /** How long a freeze may take; a process in an uninterruptible wait holds it up. */
  freezeMs: 30_000,
  /** What of crun's log is read for its message. */
  crunLogBytes: 64 * 1024,
  /** How long one step of crun may take: a hook can hang. */
  crunMs: 120_000,
} as const;
