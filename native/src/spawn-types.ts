/** setrlimit(2): `resource` is the number of RLIMIT_*; UNLIMITED is RLIM_INFINITY. */
export interface ResourceLimit {
  resource: number;
  soft: bigint;
  hard: bigint;
}

export const UNLIMITED = 0xffff_ffff_ffff_ffffn;

/** Bit n is capability n, capabilities(7). */
export interface CapabilitySets {
  bounding: bigint;
  permitted: bigint;
  effective: bigint;
  inheritable: bigint;
  ambient: bigint;
}

/** namespaces(7), in the order of zone_init.h's bits. */
export const NAMESPACES = ["pid", "mount", "uts", "ipc", "cgroup", "net", "user"] as const;
export type Namespace = (typeof NAMESPACES)[number];

/** What a container has of its own when its spec does not say: all but the zone's network and users. */
export const CONTAINER_NAMESPACES: readonly Namespace[] = ["pid", "mount", "uts", "ipc", "cgroup"];

/** Namespaces of a process that runs. */
export interface NamespaceJoin {
  /** Of the process; ESRCH at stage "join" when it has ended, EBUSY when its exec is under way. */
  token: bigint;
  which: readonly Namespace[];
}

/** Each namespace at most once; what is not named is PID 1's own, the zone's. */
export interface NamespaceChoice {
  create: readonly Namespace[];
  /** At most two, e.g. one of the pod and one of another container. A decoded spec has an array. */
  join?: NamespaceJoin | readonly NamespaceJoin[];
}

/** struct zi_spec of zone_init.h: what PID 1's child becomes. */
export interface SpawnSpec {
  /** Prepare `root` and make it /. Needs a new mount namespace. */
  newContainer?: boolean;
  /** Join the root and all namespaces of the process with this token: an exec in its container. Excludes `namespaces`. */
  join?: bigint;
  /** Absent: CONTAINER_NAMESPACES with `newContainer`, else none. */
  namespaces?: NamespaceChoice;
  /** stdin is a tty: make it the controlling terminal, and with `newContainer` the container's /dev/console. */
  tty?: boolean;
  noNewPrivileges?: boolean;
  /** With `newContainer`: / is read-only. */
  readonlyRoot?: boolean;
  /** uid is not 0, but the process keeps its permitted and ambient capabilities. */
  keepCapabilities?: boolean;
  /** A parent between it and PID 1, inside its container, that reaps, passes signals on, and ends as it does; its pid is spawn()'s. */
  reaper?: boolean;
  /** With `newContainer`: /sys and its cgroups writable, and no path masked or read-only but those listed here. */
  privileged?: boolean;
  /** With `newContainer`: absolute paths, instead of Docker's. What is not there is passed over. */
  maskedPaths?: readonly string[];
  readonlyPaths?: readonly string[];
  /** struct sock_filter[], 1 to 4096 of 8 bytes. Without `noNewPrivileges` it must allow capset and prctl. */
  seccomp?: Uint8Array;
  /** SECCOMP_FLAG bits. */
  seccompFlags?: number;
  uid: number;
  gid: number;
  groups: readonly number[];
  umask: number;
  oomScoreAdj: number;
  rlimits: readonly ResourceLimit[];
  capabilities: CapabilitySets;
  /** Bytes but NUL; text is taken as UTF-8. */
  argv: readonly (string | Uint8Array)[];
  env: readonly (string | Uint8Array)[];
  /** A mount point that becomes /; empty unless `newContainer`. */
  root: string;
  /** Inside the root; made when missing. */
  cwd: string;
  /** Empty: as it is. Needs a new uts namespace. */
  hostname: string;
  /** PID 1 ignores it; it comes back in InitClient.list(). */
  meta: string;
}

/** seccomp(2), SECCOMP_FILTER_FLAG_*: those that PID 1 takes. */
export const SECCOMP_FLAG = { LOG: 1 << 1, SPEC_ALLOW: 1 << 2 } as const;

/** A spec that was decoded: argv and env are the bytes that they were, `namespaces` is there unless it is none. */
export interface DecodedSpec extends SpawnSpec {
  namespaces?: { create: readonly Namespace[]; join?: readonly NamespaceJoin[] };
  argv: readonly Buffer[];
  env: readonly Buffer[];
}

/** Most bytes of an encoded spec (ZI_MAX_SPEC). */
export const MAX_SPEC_BYTES = 8 << 20;
/** NGROUPS_MAX of Linux. */
export const MAX_GROUPS = 65536;
/** Linux knows 16; PID 1 takes no more than this. */
export const MAX_RLIMITS = 64;
/** Of maskedPaths, and of readonlyPaths. */
export const MAX_PATHS = 1024;
/** Of a seccomp filter; BPF_MAXINSNS of Linux. */
export const MAX_FILTER_INSTRUCTIONS = 4096;
