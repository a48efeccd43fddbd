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
/** NGROUPS_MAX of Linux. */
export const MAX_GROUPS = 65536;
/** Linux knows 16; PID 1 takes no more than this. */
export const MAX_RLIMITS = 64;

const MAGIC = 0x5a535043;
/** (uid_t)-1, which means "leave it" to setresuid(2), so it cannot be one. */
const NO_ID = 0xffff_ffff;

/** Bits of `flags`, zone_init.h enum zi_spec_flags. */
const FLAGS = {
  newContainer: 1 << 0,
  join: 1 << 1,
  tty: 1 << 2,
  noNewPrivileges: 1 << 3,
  readonlyRoot: 1 << 4,
  keepCapabilities: 1 << 5,
} as const;
const ALL_FLAGS = Object.values(FLAGS).reduce((all, flag) => all | flag, 0);

/** Offsets of struct zi_spec's members; a compile-time test in c/init/layout.c holds the C side to them. */
const AT = {
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
} as const;
const HEAD_BYTES = 128;
const RLIMIT_BYTES = 24;
const CAPABILITY_SETS = ["bounding", "permitted", "effective", "inheritable", "ambient"] as const;
const PATHS = ["root", "cwd", "hostname", "meta"] as const;

/**
 * The spec as zone_init.h lays it out, in the machine's byte order (little-endian on all that we run on). Throws RangeError,
 * naming the member, when it is too large or a value does not fit.
 */
export function encodeSpec(spec: SpawnSpec): Buffer {
  checkRanges(spec);
  const strings = [...spec.argv, ...spec.env, ...PATHS.map((name) => spec[name])].map((text, index) =>
    toBytes(text, index),
  );
  const rlimitsAt = HEAD_BYTES;
  const groupsAt = rlimitsAt + spec.rlimits.length * RLIMIT_BYTES;
  const stringsAt = groupsAt + spec.groups.length * 4;
  const size = strings.reduce((sum, bytes) => sum + bytes.length + 1, stringsAt);
  if (size > MAX_SPEC_BYTES) throw new RangeError(`the spec takes ${size} bytes; ${MAX_SPEC_BYTES} are allowed`);

  const out = Buffer.alloc(size);
  const offsets: number[] = [];
  let at = stringsAt;
  for (const bytes of strings) {
    offsets.push(at);
    out.set(bytes, at);
    at += bytes.length + 1;
  }
  const { argv, env, rlimits, groups, capabilities } = spec;
  out.writeUInt32LE(MAGIC, AT.magic);
  out.writeUInt32LE(size, AT.size);
  out.writeUInt32LE(flagsOf(spec), AT.flags);
  out.writeUInt32LE(spec.uid, AT.uid);
  out.writeUInt32LE(spec.gid, AT.gid);
  out.writeUInt32LE(spec.umask, AT.umask);
  out.writeInt32LE(spec.oomScoreAdj, AT.oomScoreAdj);
  out.writeUInt32LE(groups.length, AT.groupCount);
  out.writeUInt32LE(rlimits.length, AT.rlimitCount);
  out.writeUInt32LE(argv.length, AT.argc);
  out.writeUInt32LE(env.length, AT.envc);
  out.writeBigUInt64LE(spec.join ?? 0n, AT.join);
  for (const name of CAPABILITY_SETS) out.writeBigUInt64LE(capabilities[name], AT[name]);
  out.writeUInt32LE(groupsAt, AT.groups);
  out.writeUInt32LE(rlimitsAt, AT.rlimits);
  out.writeUInt32LE(stringsAt, AT.argv);
  out.writeUInt32LE(offsets[argv.length] ?? 0, AT.env);
  PATHS.forEach((name, index) => {
    out.writeUInt32LE(offsets[argv.length + env.length + index] ?? 0, AT[name]);
  });
  rlimits.forEach((limit, index) => {
    const base = rlimitsAt + index * RLIMIT_BYTES;
    out.writeUInt32LE(limit.resource, base);
    out.writeBigUInt64LE(limit.soft, base + 8);
    out.writeBigUInt64LE(limit.hard, base + 16);
  });
  groups.forEach((group, index) => {
    out.writeUInt32LE(group, groupsAt + index * 4);
  });
  return out;
}

/** The reverse. Throws RangeError on bytes that zone_init.h does not allow. */
export function decodeSpec(bytes: Uint8Array): DecodedSpec {
  const spec = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  if (spec.length <= HEAD_BYTES || spec.length > MAX_SPEC_BYTES) throw malformed("length");
  if (spec.readUInt32LE(AT.magic) !== MAGIC) throw malformed("magic");
  if (spec.readUInt32LE(AT.size) !== spec.length) throw malformed("size");
  if (spec[spec.length - 1] !== 0) throw malformed("end");
  const flags = spec.readUInt32LE(AT.flags);
  if (flags & ~ALL_FLAGS) throw malformed("flags");
  const rlimitCount = spec.readUInt32LE(AT.rlimitCount);
  const groupCount = spec.readUInt32LE(AT.groupCount);
  if (rlimitCount > MAX_RLIMITS) throw malformed("rlimits");
  if (groupCount > MAX_GROUPS) throw malformed("groups");
  const rlimitsAt = arrayAt(spec, "rlimits", rlimitCount, RLIMIT_BYTES, 8);
  const groupsAt = arrayAt(spec, "groups", groupCount, 4, 4);
  const text = (name: (typeof PATHS)[number]) => stringsAt(spec, name, 1)[0]?.toString() ?? "";
  const decoded: DecodedSpec = {
    newContainer: (flags & FLAGS.newContainer) !== 0,
    tty: (flags & FLAGS.tty) !== 0,
    noNewPrivileges: (flags & FLAGS.noNewPrivileges) !== 0,
    readonlyRoot: (flags & FLAGS.readonlyRoot) !== 0,
    keepCapabilities: (flags & FLAGS.keepCapabilities) !== 0,
    ...(flags & FLAGS.join ? { join: spec.readBigUInt64LE(AT.join) } : {}),
    uid: spec.readUInt32LE(AT.uid),
    gid: spec.readUInt32LE(AT.gid),
    groups: Array.from({ length: groupCount }, (_, index) => spec.readUInt32LE(groupsAt + index * 4)),
    umask: spec.readUInt32LE(AT.umask),
    oomScoreAdj: spec.readInt32LE(AT.oomScoreAdj),
    rlimits: Array.from({ length: rlimitCount }, (_, index) => {
      const base = rlimitsAt + index * RLIMIT_BYTES;
      return {
        resource: spec.readUInt32LE(base),
        soft: spec.readBigUInt64LE(base + 8),
        hard: spec.readBigUInt64LE(base + 16),
      };
    }),
    capabilities: {
      bounding: spec.readBigUInt64LE(AT.bounding),
      permitted: spec.readBigUInt64LE(AT.permitted),
      effective: spec.readBigUInt64LE(AT.effective),
      inheritable: spec.readBigUInt64LE(AT.inheritable),
      ambient: spec.readBigUInt64LE(AT.ambient),
    },
    argv: stringsAt(spec, "argv", spec.readUInt32LE(AT.argc)),
    env: stringsAt(spec, "env", spec.readUInt32LE(AT.envc)),
    root: text("root"),
    cwd: text("cwd"),
    hostname: text("hostname"),
    meta: text("meta"),
  };
  checkRanges(decoded);
  return decoded;
}

function flagsOf(spec: SpawnSpec): number {
  let flags = spec.join === undefined ? 0 : FLAGS.join;
  for (const name of ["newContainer", "tty", "noNewPrivileges", "readonlyRoot", "keepCapabilities"] as const) {
    if (spec[name]) flags |= FLAGS[name];
  }
  return flags;
}

/** What the kernel's types hold, and what PID 1 accepts. */
function checkRanges(spec: SpawnSpec): void {
  const whole = (name: string, value: number, low: number, high: number) => {
    if (!Number.isInteger(value) || value < low || value > high) {
      throw new RangeError(`${name} is ${value}; it must be a whole number from ${low} to ${high}`);
    }
  };
  const wide = (name: string, value: bigint) => {
    if (value < 0n || value > UNLIMITED) throw new RangeError(`${name} is ${value}; it must be from 0 to 2^64 - 1`);
  };
  whole("uid", spec.uid, 0, NO_ID - 1);
  whole("gid", spec.gid, 0, NO_ID - 1);
  whole("umask", spec.umask, 0, 0o777);
  whole("oomScoreAdj", spec.oomScoreAdj, -1000, 1000);
  whole("number of groups", spec.groups.length, 0, MAX_GROUPS);
  whole("number of rlimits", spec.rlimits.length, 0, MAX_RLIMITS);
  for (const group of spec.groups) whole("group", group, 0, NO_ID - 1);
  for (const limit of spec.rlimits) {
    whole("resource of an rlimit", limit.resource, 0, MAX_RLIMITS);
    wide("soft limit", limit.soft);
    wide("hard limit", limit.hard);
  }
  for (const name of CAPABILITY_SETS) wide(`capabilities.${name}`, spec.capabilities[name]);
  if (spec.join !== undefined) wide("join", spec.join);
  if (spec.argv.length === 0) throw new RangeError("argv is empty; it must hold the program's name");
  if (spec.newContainer && spec.join !== undefined) throw new RangeError("newContainer and join exclude each other");
  if (!spec.cwd.startsWith("/")) throw new RangeError(`cwd is ${JSON.stringify(spec.cwd)}; it must be absolute`);
  if (spec.newContainer && !spec.root.startsWith("/"))
    throw new RangeError("root must be absolute for a new container");
  if (!spec.newContainer && (spec.root || spec.hostname || spec.readonlyRoot)) {
    throw new RangeError("root, hostname and readonlyRoot apply to a new container alone");
  }
}

function toBytes(text: string | Uint8Array, index: number): Uint8Array {
  const bytes = typeof text === "string" ? Buffer.from(text) : text;
  if (bytes.includes(0)) throw new RangeError(`string ${index} of the spec holds a NUL byte`);
  return bytes;
}

function malformed(what: string): RangeError {
  return new RangeError(`malformed spec: ${what}`);
}

function arrayAt(spec: Buffer, name: "groups" | "rlimits", count: number, size: number, align: number): number {
  const offset = spec.readUInt32LE(AT[name]);
  if (offset % align !== 0 || offset > spec.length || count > (spec.length - offset) / size) throw malformed(name);
  return offset;
}

/** `count` strings one after another. The spec ends in NUL, so each that begins inside it ends there. */
function stringsAt(spec: Buffer, name: "argv" | "env" | (typeof PATHS)[number], count: number): Buffer[] {
  const strings: Buffer[] = [];
  let at = spec.readUInt32LE(AT[name]);
  for (let i = 0; i < count; i++) {
    if (at >= spec.length) throw malformed(name);
    const end = spec.indexOf(0, at);
    strings.push(spec.subarray(at, end));
    at = end + 1;
  }
  return strings;
}
