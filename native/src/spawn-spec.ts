import { checkSpec, namespacesOf } from "./spawn-checks.js";
import {
  ALL_FLAGS,
  AT,
  CAPABILITY_SETS,
  FLAGS,
  HEAD_BYTES,
  INSTRUCTION_BYTES,
  JOIN_BYTES,
  MAGIC,
  MAX_JOINS,
  RLIMIT_BYTES,
  SWITCHES,
  TEXTS,
} from "./spawn-layout.js";
import {
  type DecodedSpec,
  MAX_FILTER_INSTRUCTIONS,
  MAX_GROUPS,
  MAX_PATHS,
  MAX_RLIMITS,
  MAX_SPEC_BYTES,
  NAMESPACES,
  type Namespace,
  type SpawnSpec,
} from "./spawn-types.js";

/**
 * The spec as zone_init.h lays it out, in the machine's byte order (little-endian on all that we run on). Throws RangeError,
 * naming the member, when it is too large or a value does not fit.
 */
export function encodeSpec(spec: SpawnSpec): Buffer {
  checkSpec(spec);
  const { argv, env, rlimits, groups, capabilities, seccomp } = spec;
  const lists = { argv, env, masked: spec.maskedPaths ?? [], readonly: spec.readonlyPaths ?? [] };
  const strings = [...Object.values(lists).flat(), ...TEXTS.map((name) => spec[name])].map(toBytes);
  const rlimitsAt = HEAD_BYTES;
  const filterAt = rlimitsAt + rlimits.length * RLIMIT_BYTES;
  const groupsAt = filterAt + (seccomp?.length ?? 0);
  const textAt = groupsAt + groups.length * 4;
  const size = strings.reduce((sum, bytes) => sum + bytes.length + 1, textAt);
  if (size > MAX_SPEC_BYTES) throw new RangeError(`the spec takes ${size} bytes; ${MAX_SPEC_BYTES} are allowed`);

  const out = Buffer.alloc(size);
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
  out.writeUInt32LE(lists.masked.length, AT.maskedCount);
  out.writeUInt32LE(lists.readonly.length, AT.readonlyCount);
  out.writeUInt32LE((seccomp?.length ?? 0) / INSTRUCTION_BYTES, AT.filterCount);
  out.writeUInt32LE(spec.seccompFlags ?? 0, AT.filterFlags);
  out.writeBigUInt64LE(spec.join ?? 0n, AT.join);
  for (const name of CAPABILITY_SETS) out.writeBigUInt64LE(capabilities[name], AT[name]);
  writeNamespaces(out, spec);
  out.writeUInt32LE(groupsAt, AT.groups);
  out.writeUInt32LE(rlimitsAt, AT.rlimits);
  out.writeUInt32LE(filterAt, AT.filter);
  rlimits.forEach((limit, index) => {
    const base = rlimitsAt + index * RLIMIT_BYTES;
    out.writeUInt32LE(limit.resource, base);
    out.writeBigUInt64LE(limit.soft, base + 8);
    out.writeBigUInt64LE(limit.hard, base + 16);
  });
  groups.forEach((group, index) => {
    out.writeUInt32LE(group, groupsAt + index * 4);
  });
  if (seccomp) out.set(seccomp, filterAt);

  let at = textAt;
  const offsets = strings.map((bytes) => {
    const offset = at;
    out.set(bytes, offset);
    at += bytes.length + 1;
    return offset;
  });
  // An empty list begins where the next one does: meta, the last, is always there.
  let first = 0;
  for (const name of ["argv", "env", "masked", "readonly"] as const) {
    out.writeUInt32LE(offsets[first] ?? 0, AT[name]);
    first += lists[name].length;
  }
  for (const name of TEXTS) out.writeUInt32LE(offsets[first++] ?? 0, AT[name]);
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
  const rlimits = arrayOf(spec, "rlimits", "rlimitCount", MAX_RLIMITS, RLIMIT_BYTES, 8);
  const groups = arrayOf(spec, "groups", "groupCount", MAX_GROUPS, 4, 4);
  const filter = arrayOf(spec, "filter", "filterCount", MAX_FILTER_INSTRUCTIONS, INSTRUCTION_BYTES, 4);
  const filterFlags = spec.readUInt32LE(AT.filterFlags);
  const text = (name: (typeof TEXTS)[number]) => stringsAt(spec, name, 1)[0]?.toString() ?? "";
  const paths = (name: "masked" | "readonly", flag: "maskedPaths" | "readonlyPaths") => {
    const count = spec.readUInt32LE(AT[`${name}Count`]);
    if (count > MAX_PATHS || (count > 0 && !(flags & FLAGS[flag]))) throw malformed(name);
    const found = stringsAt(spec, name, count).map((path) => path.toString());
    return flags & FLAGS[flag] ? { [flag]: found } : {};
  };
  const decoded: DecodedSpec = {
    ...Object.fromEntries(SWITCHES.map((name) => [name, (flags & FLAGS[name]) !== 0])),
    ...(flags & FLAGS.join ? { join: spec.readBigUInt64LE(AT.join) } : {}),
    ...readNamespaces(spec),
    ...paths("masked", "maskedPaths"),
    ...paths("readonly", "readonlyPaths"),
    ...(filter.count > 0 ? { seccomp: spec.subarray(filter.at, filter.at + filter.count * INSTRUCTION_BYTES) } : {}),
    ...(filterFlags ? { seccompFlags: filterFlags } : {}),
    uid: spec.readUInt32LE(AT.uid),
    gid: spec.readUInt32LE(AT.gid),
    groups: Array.from({ length: groups.count }, (_, index) => spec.readUInt32LE(groups.at + index * 4)),
    umask: spec.readUInt32LE(AT.umask),
    oomScoreAdj: spec.readInt32LE(AT.oomScoreAdj),
    rlimits: Array.from({ length: rlimits.count }, (_, index) => {
      const base = rlimits.at + index * RLIMIT_BYTES;
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
  // What a new container without `create` would get by default it was not given.
  checkSpec(decoded.namespaces ? decoded : { ...decoded, namespaces: { create: [] } });
  return decoded;
}

function flagsOf(spec: SpawnSpec): number {
  let flags = spec.join === undefined ? 0 : FLAGS.join;
  for (const name of SWITCHES) if (spec[name]) flags |= FLAGS[name];
  for (const name of ["maskedPaths", "readonlyPaths"] as const) if (spec[name]) flags |= FLAGS[name];
  return flags;
}

const maskOf = (names: readonly Namespace[]) => names.reduce((mask, name) => mask | (1 << NAMESPACES.indexOf(name)), 0);

function namesOf(mask: number): Namespace[] {
  if (mask >>> NAMESPACES.length) throw malformed("namespaces");
  return NAMESPACES.filter((_, bit) => mask & (1 << bit));
}

function writeNamespaces(out: Buffer, spec: SpawnSpec): void {
  const { create, joins } = namespacesOf(spec);
  out.writeUInt32LE(maskOf(create), AT.create);
  joins.forEach(({ token, which }, index) => {
    out.writeBigUInt64LE(token, AT.joins + index * JOIN_BYTES);
    out.writeUInt32LE(maskOf(which), AT.joins + index * JOIN_BYTES + 8);
  });
}

function readNamespaces(spec: Buffer): Pick<DecodedSpec, "namespaces"> {
  const create = namesOf(spec.readUInt32LE(AT.create));
  const join = Array.from({ length: MAX_JOINS }, (_, index) => ({
    token: spec.readBigUInt64LE(AT.joins + index * JOIN_BYTES),
    which: namesOf(spec.readUInt32LE(AT.joins + index * JOIN_BYTES + 8)),
  })).filter(({ which }) => which.length > 0);
  if (join.length > 0) return { namespaces: { create, join } };
  return create.length > 0 ? { namespaces: { create } } : {};
}

function toBytes(text: string | Uint8Array, index: number): Uint8Array {
  const bytes = typeof text === "string" ? Buffer.from(text) : text;
  if (bytes.includes(0)) throw new RangeError(`string ${index} of the spec holds a NUL byte`);
  return bytes;
}

function malformed(what: string): RangeError {
  return new RangeError(`malformed spec: ${what}`);
}

/** An array inside the spec: where it begins and how long it is. */
function arrayOf(
  spec: Buffer,
  name: "groups" | "rlimits" | "filter",
  countName: "groupCount" | "rlimitCount" | "filterCount",
  most: number,
  size: number,
  align: number,
): { at: number; count: number } {
  const at = spec.readUInt32LE(AT[name]);
  const count = spec.readUInt32LE(AT[countName]);
  if (count > most || at % align !== 0 || at > spec.length || count > (spec.length - at) / size) throw malformed(name);
  return { at, count };
}

/** `count` strings one after another. The spec ends in NUL, so each that begins inside it ends there. */
function stringsAt(
  spec: Buffer,
  name: "argv" | "env" | "masked" | "readonly" | (typeof TEXTS)[number],
  count: number,
): Buffer[] {
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
