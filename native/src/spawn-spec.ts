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

/** struct zi_spec of zone_init.h: what PID 1's child becomes. */
export interface SpawnSpec {
  /** New pid, mount, uts, ipc and cgroup namespaces; `root` and `hostname` apply. */
  newContainer?: boolean;
  /** Join the namespaces and root of the process with this token. */
  join?: bigint;
  /** stdin is a tty: make it the controlling terminal. */
  tty?: boolean;
  noNewPrivileges?: boolean;
  /** With `newContainer`: / is read-only. */
  readonlyRoot?: boolean;
  /** uid is not 0, but the process keeps its permitted and ambient capabilities. */
  keepCapabilities?: boolean;
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
  /** Empty: as it is. */
  hostname: string;
  /** PID 1 ignores it; it comes back in InitClient.list(). */
  meta: string;
}

/** A spec that was decoded: argv and env are the bytes that they were. */
export interface DecodedSpec extends SpawnSpec {
  argv: readonly Buffer[];
  env: readonly Buffer[];
}

/** Most bytes of an encoded spec (ZI_MAX_SPEC). */
export const MAX_SPEC_BYTES = 8 << 20;

/** The spec as zone_init.h lays it out. Throws RangeError when it is too large or a value does not fit, naming it. */
export function encodeSpec(spec: SpawnSpec): Buffer {
  throw new Error(`not yet: ${spec.cwd}`);
}

/** The reverse. Throws RangeError on bytes that encodeSpec cannot have made. */
export function decodeSpec(bytes: Uint8Array): DecodedSpec {
  throw new Error(`not yet: ${bytes.length}`);
}
