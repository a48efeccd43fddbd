/** The layout of struct zi_spec (zone_init.h); a compile-time test in c/init/layout.c holds the C side to it. */
export const MAGIC = 0x5a535043;

/** Offsets of the members. */
export const AT = {
  magic: 0,
  size: 4,
  flags: 8,
  uid: 12,
  gid: 16,
  umask: 20,
  oomScoreAdj: 24,
  groupCount: 28,
  rlimitCount: 32,
  argc: 36,
  envc: 40,
  join: 48,
  bounding: 56,
  permitted: 64,
  effective: 72,
  inheritable: 80,
  ambient: 88,
  groups: 96,
  rlimits: 100,
  argv: 104,
  env: 108,
  root: 112,
  cwd: 116,
  hostname: 120,
  meta: 124,
  create: 128,
  maskedCount: 132,
  readonlyCount: 136,
  filterCount: 140,
  filterFlags: 144,
  masked: 148,
  readonly: 152,
  filter: 156,
  joins: 160,
} as const;
export const HEAD_BYTES = 192;
export const RLIMIT_BYTES = 24;
/** struct sock_filter. */
export const INSTRUCTION_BYTES = 8;
/** struct zi_ns_join. */
export const JOIN_BYTES = 16;
export const MAX_JOINS = 2;

/** Bits of `flags`, enum zi_spec_flags. */
export const FLAGS = {
  newContainer: 1 << 0,
  join: 1 << 1,
  tty: 1 << 2,
  noNewPrivileges: 1 << 3,
  readonlyRoot: 1 << 4,
  keepCapabilities: 1 << 5,
  reaper: 1 << 6,
  privileged: 1 << 7,
  maskedPaths: 1 << 8,
  readonlyPaths: 1 << 9,
} as const;
export const ALL_FLAGS = Object.values(FLAGS).reduce((all, flag) => all | flag, 0);
/** The flags that are members of SpawnSpec as they are. */
export const SWITCHES = [
  "newContainer",
  "tty",
  "noNewPrivileges",
  "readonlyRoot",
  "keepCapabilities",
  "reaper",
  "privileged",
] as const;

export const CAPABILITY_SETS = ["bounding", "permitted", "effective", "inheritable", "ambient"] as const;
/** Members that are one string each. */
export const TEXTS = ["root", "cwd", "hostname", "meta"] as const;
