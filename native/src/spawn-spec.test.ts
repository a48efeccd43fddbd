import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { namespacesOf } from "./spawn-checks.js";
import { HEAD_BYTES } from "./spawn-layout.js";
import { decodeSpec, encodeSpec } from "./spawn-spec.js";
import {
  CONTAINER_NAMESPACES,
  MAX_SPEC_BYTES,
  NAMESPACES,
  type Namespace,
  type NamespaceChoice,
  SECCOMP_FLAG,
  type SpawnSpec,
  UNLIMITED,
} from "./spawn-types.js";

const u64 = fc.bigInt({ min: 0n, max: UNLIMITED });
const id = fc.integer({ min: 0, max: 0xffff_fffe });
const bytes = fc.uint8Array({ maxLength: 200 }).map((array) => Buffer.from(array.filter((byte) => byte !== 0)));
const text = fc.string({ unit: "binary", maxLength: 50 }).map((string) => string.replaceAll("\0", ""));
const path = text.map((string) => `/${string}`);
const common = {
  tty: fc.boolean(),
  noNewPrivileges: fc.boolean(),
  keepCapabilities: fc.boolean(),
  reaper: fc.boolean(),
  uid: id,
  gid: id,
  groups: fc.array(id, { maxLength: 20 }),
  umask: fc.integer({ min: 0, max: 0o777 }),
  oomScoreAdj: fc.integer({ min: -1000, max: 1000 }),
  rlimits: fc.array(fc.record({ resource: fc.nat(15), soft: u64, hard: u64 }), { maxLength: 16 }),
  capabilities: fc.record({ bounding: u64, permitted: u64, effective: u64, inheritable: u64, ambient: u64 }),
  argv: fc.array(bytes, { minLength: 1, maxLength: 20 }),
  env: fc.array(bytes, { maxLength: 20 }),
  cwd: path,
  meta: text,
};
const nothing = {
  newContainer: fc.constant(false),
  readonlyRoot: fc.constant(false),
  privileged: fc.constant(false),
  root: fc.constant(""),
  hostname: fc.constant(""),
};
/** Each namespace new, one of two others', or PID 1's. */
const choices = (mount: boolean): fc.Arbitrary<NamespaceChoice> =>
  fc.tuple(fc.tuple(...NAMESPACES.map(() => fc.nat(3))), u64, u64).map(([uses, first, second]) => {
    const named = (use: number) => NAMESPACES.filter((name, bit) => uses[bit] === use && !(mount && name === "mount"));
    const create: Namespace[] = NAMESPACES.filter((name) => named(1).includes(name) || (mount && name === "mount"));
    const join = [
      { token: first, which: named(2) },
      { token: second, which: named(3) },
    ].filter(({ which }) => which.length > 0);
    return join.length > 0 ? { create, join } : { create };
  });
const filters = {
  seccomp: fc.option(
    fc.uint8Array({ minLength: 8, maxLength: 80 }).map((array) => Buffer.from(array.subarray(0, array.length & ~7))),
    { nil: undefined },
  ),
};
const paths = fc.option(fc.array(path, { maxLength: 5 }), { nil: undefined });
const container = {
  ...{ ...common, ...filters, root: path, readonlyRoot: fc.boolean(), privileged: fc.boolean() },
  ...{ maskedPaths: paths, readonlyPaths: paths, newContainer: fc.constant(true), hostname: fc.constant("") },
};
const specs: fc.Arbitrary<SpawnSpec> = fc.oneof(
  fc.record({ ...common, ...filters, ...nothing }),
  fc.record({ ...common, ...nothing, namespaces: choices(false) }),
  fc.record({ ...common, ...nothing, join: u64 }),
  fc.record({ ...container, hostname: text }),
  fc.record({ ...container, namespaces: choices(true) }),
  fc.record({ ...common, ...nothing, seccomp: fc.constant(Buffer.alloc(8)), seccompFlags: fc.constantFrom(2, 4, 6) }),
);

/** As it comes back: with its namespaces said, if it has any. */
function said(spec: SpawnSpec): SpawnSpec {
  const { create, joins } = namespacesOf(spec);
  const namespaces =
    create.length + joins.length === 0 ? undefined : { create, ...(joins.length > 0 ? { join: joins } : {}) };
  return { ...spec, namespaces };
}

const plain: SpawnSpec = {
  argv: ["true"],
  env: [],
  cwd: "/",
  root: "",
  hostname: "",
  meta: "",
  uid: 0,
  gid: 0,
  groups: [],
  umask: 0,
  oomScoreAdj: 0,
  rlimits: [],
  capabilities: { bounding: 0n, permitted: 0n, effective: 0n, inheritable: 0n, ambient: 0n },
};

const join = (name: Namespace) => ({ token: 1n, which: [name] });

describe("encodeSpec and decodeSpec", () => {
  it("give back what they were given", () => {
    fc.assert(
      fc.property(specs, (spec) => {
        expect(decodeSpec(encodeSpec(spec))).toEqual(said(spec));
      }),
    );
  });

  it("refuse garbage with a RangeError, and never read beyond it", () => {
    const garbage = fc.oneof(
      fc.uint8Array({ maxLength: 400 }),
      fc
        .tuple(
          specs,
          fc.array(fc.tuple(fc.nat(HEAD_BYTES / 4 - 1), fc.integer({ min: 0, max: 0xffff_ffff })), {
            minLength: 1,
            maxLength: 5,
          }),
        )
        .map(([spec, words]) => {
          const encoded = encodeSpec(spec);
          for (const [at, value] of words) encoded.writeUInt32LE(value, at * 4);
          return encoded;
        }),
      fc.tuple(specs, fc.nat(1000)).map(([spec, length]) => encodeSpec(spec).subarray(0, length)),
    );
    fc.assert(
      fc.property(garbage, (input) => {
        try {
          decodeSpec(input);
        } catch (error) {
          expect(error).toBeInstanceOf(RangeError);
        }
      }),
      { numRuns: 2000 },
    );
  });

  it("take text as UTF-8", () => {
    const decoded = decodeSpec(encodeSpec({ ...plain, argv: ["grüß", ""], env: ["A=€"] }));
    expect(decoded.argv).toEqual([Buffer.from("grüß"), Buffer.alloc(0)]);
    expect(decoded.env).toEqual([Buffer.from("A=€")]);
  });

  it.each<[string, Partial<SpawnSpec>]>([
    ["argv is empty", { argv: [] }],
    ["NUL byte", { argv: ["a\0b"] }],
    ["NUL byte", { cwd: "/a\0b" }],
    ["uid", { uid: 0xffff_ffff }],
    ["uid", { uid: 1.5 }],
    ["gid", { gid: -1 }],
    ["group", { groups: [0xffff_ffff] }],
    ["number of groups", { groups: new Array(65_537).fill(1) }],
    ["umask", { umask: 0o1000 }],
    ["oomScoreAdj", { oomScoreAdj: -1001 }],
    ["soft limit", { rlimits: [{ resource: 7, soft: -1n, hard: 0n }] }],
    ["capabilities.ambient", { capabilities: { ...plain.capabilities, ambient: UNLIMITED + 1n } }],
    ["absolute", { cwd: "relative" }],
    ["absolute", { newContainer: true, root: "" }],
    ["exclude", { newContainer: true, root: "/r", join: 1n }],
    ["new container", { hostname: "h" }],
    ["new container", { readonlyRoot: true }],
    ["new container", { privileged: true }],
    ["new container", { maskedPaths: [] }],
    ["new container", { readonlyPaths: ["/proc"] }],
    ["must be absolute", { newContainer: true, root: "/r", maskedPaths: ["proc"] }],
    ["number of readonlyPaths", { newContainer: true, root: "/r", readonlyPaths: new Array(1025).fill("/p") }],
    ["mount namespace of its own", { newContainer: true, root: "/r", namespaces: { create: ["pid"] } }],
    ["new uts namespace", { newContainer: true, root: "/r", hostname: "h", namespaces: { create: ["mount"] } }],
    ["pid namespace is named twice", { namespaces: { create: ["pid", "pid"] } }],
    ["ipc namespace is named twice", { namespaces: { create: ["ipc"], join: { token: 1n, which: ["ipc"] } } }],
    ["join names none", { namespaces: { create: [], join: { token: 1n, which: [] } } }],
    ["2 are allowed", { namespaces: { create: [], join: [join("pid"), join("uts"), join("ipc")] } }],
    ["namespaces.join.token", { namespaces: { create: [], join: { token: -1n, which: ["pid"] } } }],
    ["exclude", { join: 1n, namespaces: { create: ["net"] } }],
    ["has 9 bytes", { seccomp: Buffer.alloc(9) }],
    ["instructions", { seccomp: Buffer.alloc(0) }],
    ["instructions", { seccomp: Buffer.alloc(8 * 4097) }],
    ["seccompFlags is 1", { seccomp: Buffer.alloc(8), seccompFlags: 1 }],
    ["without a seccomp filter", { seccompFlags: SECCOMP_FLAG.LOG }],
  ])("refuse what does not fit: %s", (message, change) => {
    expect(() => encodeSpec({ ...plain, ...change })).toThrow(RangeError);
    expect(() => encodeSpec({ ...plain, ...change })).toThrow(message);
  });

  it("give a new container the usual namespaces, and one process or a list to join the same form", () => {
    const container = { ...plain, newContainer: true, root: "/r" };
    expect(decodeSpec(encodeSpec(container)).namespaces).toEqual({ create: CONTAINER_NAMESPACES });
    const namespaces: NamespaceChoice = { create: ["mount"], join: join("pid") };
    expect(decodeSpec(encodeSpec({ ...container, namespaces })).namespaces?.join).toEqual([join("pid")]);
    expect(decodeSpec(encodeSpec(plain)).namespaces).toBeUndefined();
  });

  it("keep to the limit on the whole", () => {
    const room = MAX_SPEC_BYTES - encodeSpec({ ...plain, meta: "" }).length;
    expect(encodeSpec({ ...plain, meta: "x".repeat(room) })).toHaveLength(MAX_SPEC_BYTES);
    expect(() => encodeSpec({ ...plain, meta: "x".repeat(room + 1) })).toThrow("8388608 are allowed");
  });
});
