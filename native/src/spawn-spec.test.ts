import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decodeSpec, encodeSpec, MAX_SPEC_BYTES, type SpawnSpec, UNLIMITED } from "./spawn-spec.js";

const u64 = fc.bigInt({ min: 0n, max: UNLIMITED });
const id = fc.integer({ min: 0, max: 0xffff_fffe });
const bytes = fc.uint8Array({ maxLength: 200 }).map((array) => Buffer.from(array.filter((byte) => byte !== 0)));
const text = fc.string({ unit: "binary", maxLength: 50 }).map((string) => string.replaceAll("\0", ""));
const path = text.map((string) => `/${string}`);
const common = {
  tty: fc.boolean(),
  noNewPrivileges: fc.boolean(),
  keepCapabilities: fc.boolean(),
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
  root: fc.constant(""),
  hostname: fc.constant(""),
};
const specs: fc.Arbitrary<SpawnSpec> = fc.oneof(
  fc.record({ ...common, ...nothing }),
  fc.record({ ...common, ...nothing, join: u64 }),
  fc.record({ ...common, newContainer: fc.constant(true), readonlyRoot: fc.boolean(), root: path, hostname: text }),
);

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

describe("encodeSpec and decodeSpec", () => {
  it("give back what they were given", () => {
    fc.assert(
      fc.property(specs, (spec) => {
        expect(decodeSpec(encodeSpec(spec))).toEqual(spec);
      }),
    );
  });

  it("refuse garbage with a RangeError, and never read beyond it", () => {
    const garbage = fc.oneof(
      fc.uint8Array({ maxLength: 400 }),
      fc
        .tuple(
          specs,
          fc.array(fc.tuple(fc.nat(31), fc.integer({ min: 0, max: 0xffff_ffff })), { minLength: 1, maxLength: 5 }),
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
  ])("refuse what does not fit: %s", (message, change) => {
    expect(() => encodeSpec({ ...plain, ...change })).toThrow(RangeError);
    expect(() => encodeSpec({ ...plain, ...change })).toThrow(message);
  });

  it("keep to the limit on the whole", () => {
    const room = MAX_SPEC_BYTES - encodeSpec({ ...plain, meta: "" }).length;
    expect(encodeSpec({ ...plain, meta: "x".repeat(room) })).toHaveLength(MAX_SPEC_BYTES);
    expect(() => encodeSpec({ ...plain, meta: "x".repeat(room + 1) })).toThrow("8388608 are allowed");
  });
});
