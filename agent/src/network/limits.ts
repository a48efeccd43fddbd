const KIB = 1024;

/** Bounds of the Network service. Bytes and milliseconds unless the name says otherwise. */
export const NETWORK_LIMITS = {
  /** Of one Configure. */
  links: 64,
  addresses: 1024,
  routes: 4096,
  linkWaitMs: 120_000,
  /** IFNAMSIZ without its NUL, <linux/if.h>. */
  linkNameBytes: 15,

  /** resolv.conf(5): glibc uses 3 name servers, musl too; more are kept for those that use more. */
  nameservers: 16,
  searches: 32,
  options: 32,
  optionBytes: 64,
  domainBytes: 253,
  hostEntries: 1024,
  namesPerHost: 64,
  hostsBytes: 256 * KIB,

  sysctlNameBytes: 256,
  sysctlValueBytes: 4 * KIB,
  /** Of a value that is read. */
  sysctlReadBytes: 64 * KIB,

  /** Messages that a dump of the kernel may have. */
  dumpMessages: 65_536,
  /** A dump that the kernel calls inconsistent, since something changed meanwhile, is made again. */
  dumpAttempts: 16,
  /** The kernel answers within the send; this only ends what a lost answer would leave waiting. */
  netlinkTimeoutMs: 10_000,
  /** Nested attributes, deeper than any that the kernel sends. */
  attributeDepth: 8,

  /** Forward calls at once. The agent's descriptors are bounded (4,096, the kernel's limit for PID 1), and others need some. */
  connections: 2048,
  connectTimeoutMs: { default: 10_000, max: 120_000 },
  unixPathBytes: 4095,
  /** A Unix socket whose queue is full refuses at once instead of waiting, connect(2); it is asked again after this. */
  busySocketMs: 20,
  /** Read from services and not taken by their clients yet, all connections together, and the share of one. */
  inFlightBytes: 64 * 1024 * KIB,
  connectionBytes: { min: 32 * KIB, max: 512 * KIB },
} as const;
