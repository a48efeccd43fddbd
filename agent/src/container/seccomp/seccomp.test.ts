import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ALL_CAPABILITIES, DEFAULT_CAPABILITIES, parseCapabilities } from "../../process/capabilities.js";
import { DEFAULT_PROFILE } from "./default-profile.js";
import { rulesFor, SeccompFilters } from "./filter.js";
import { parseProfile } from "./profile.js";

const host = { architecture: "x64", kernelRelease: "6.1.0-13-amd64" };
const json = (value: unknown) => Buffer.from(JSON.stringify(value));
const allowed = (profile: Parameters<typeof rulesFor>[0], capabilities: bigint, on = host) =>
  new Set(
    rulesFor(profile, capabilities, on)
      .rules.filter(({ action }) => action === "SCMP_ACT_ALLOW")
      .flatMap(({ names }) => names),
  );

describe("the default profile", () => {
  it("allows what programs need and no more than the capabilities make harmless", () => {
    const plain = allowed(DEFAULT_PROFILE, DEFAULT_CAPABILITIES);
    for (const name of ["read", "openat2", "clone", "ptrace", "chroot", "arch_prctl"]) expect(plain).toContain(name);
    for (const name of ["mount", "unshare", "bpf", "reboot", "init_module", "keyctl", "io_uring_setup", "kexec_load"])
      expect(plain).not.toContain(name);
    const admin = allowed(DEFAULT_PROFILE, parseCapabilities(["SYS_ADMIN"]));
    for (const name of ["mount", "unshare", "bpf", "clone3"]) expect(admin).toContain(name);
    for (const name of ["reboot", "chroot"]) expect(admin).not.toContain(name);
    expect(allowed(DEFAULT_PROFILE, DEFAULT_CAPABILITIES, { ...host, architecture: "arm64" })).not.toContain(
      "arch_prctl",
    );
  });

  it("has clone3 fail in the way that C libraries expect", () => {
    const { rules } = rulesFor(DEFAULT_PROFILE, DEFAULT_CAPABILITIES, host);
    expect(rules.find(({ names }) => names.includes("clone3"))).toMatchObject({ action: "SCMP_ACT_ERRNO", errno: 38 });
  });

  it("is compiled once for each set of capabilities", () => {
    const filters = new SeccompFilters(host);
    const filter = filters.get(DEFAULT_PROFILE, DEFAULT_CAPABILITIES);
    expect(filter.program.length % 8).toBe(0);
    expect(filter.program.length / 8).toBeLessThan(4096);
    expect(filter.program.length / 8).toBeGreaterThan(100);
    expect(filters.get(DEFAULT_PROFILE, DEFAULT_CAPABILITIES)).toBe(filter);
    expect(filters.get(DEFAULT_PROFILE, ALL_CAPABILITIES)).not.toBe(filter);
  });

  it("is kept for the sets that were used last", () => {
    const filters = new SeccompFilters(host);
    const [first, second] = [0n, 1n].map((set) => filters.get(DEFAULT_PROFILE, set));
    for (let set = 2n; set < 32n; set++) filters.get(DEFAULT_PROFILE, set);
    expect(filters.get(DEFAULT_PROFILE, 0n)).toBe(first);
    filters.get(DEFAULT_PROFILE, 32n);
    expect(filters.get(DEFAULT_PROFILE, 0n)).toBe(first);
    expect(filters.get(DEFAULT_PROFILE, 1n)).not.toBe(second);
  });
});

describe("a profile", () => {
  it("is read in the OCI runtime specification's form", () => {
    const profile = parseProfile(
      json({
        defaultAction: "SCMP_ACT_ERRNO",
        defaultErrnoRet: 38,
        architectures: ["SCMP_ARCH_X86_64"],
        flags: ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"],
        syscalls: [
          { names: ["read"], action: "SCMP_ACT_ALLOW" },
          {
            names: ["socket"],
            action: "SCMP_ACT_ERRNO",
            errnoRet: 97,
            args: [{ index: 0, value: 10, op: "SCMP_CMP_EQ" }],
          },
        ],
      }),
    );
    expect(rulesFor(profile, 0n, host)).toEqual({
      defaultAction: "SCMP_ACT_ERRNO",
      defaultErrno: 38,
      architectures: ["SCMP_ARCH_X86_64"],
      flags: ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"],
      rules: [
        { names: ["read"], action: "SCMP_ACT_ALLOW", args: [] },
        {
          ...{ names: ["socket"], action: "SCMP_ACT_ERRNO", errno: 97 },
          args: [{ index: 0, value: 10n, valueTwo: 0n, op: "SCMP_CMP_EQ" }],
        },
      ],
    });
    expect(new SeccompFilters(host).get(profile, 0n).flags).toBe(6);
  });

  it("is read in Docker's form, and its conditions are kept", () => {
    const profile = parseProfile(
      json({
        defaultAction: "SCMP_ACT_ALLOW",
        archMap: [{ architecture: "SCMP_ARCH_X86_64", subArchitectures: ["SCMP_ARCH_X86"] }],
        syscalls: [
          { name: "mount", action: "SCMP_ACT_ERRNO", args: null },
          { names: ["a"], action: "SCMP_ACT_LOG", includes: { caps: ["CAP_CHOWN", "CAP_KILL"] } },
          { names: ["b"], action: "SCMP_ACT_LOG", includes: { arches: ["arm64"] } },
          { names: ["c"], action: "SCMP_ACT_LOG", includes: { minKernel: "5.13" } },
          { names: ["d"], action: "SCMP_ACT_LOG", excludes: { caps: ["CAP_CHOWN"] } },
          { names: ["e"], action: "SCMP_ACT_LOG", excludes: { arches: ["amd64"] } },
          { names: ["f"], action: "SCMP_ACT_LOG", includes: {}, excludes: {}, comment: "nothing" },
        ],
      }),
    );
    const names = (capabilities: string[], on = host) =>
      rulesFor(profile, parseCapabilities(capabilities), on).rules.flatMap((rule) => rule.names);
    expect(names([])).toEqual(["mount", "c", "d", "f"]);
    expect(names(["CHOWN"])).toEqual(["mount", "c", "f"]);
    expect(names(["CHOWN", "KILL"])).toEqual(["mount", "a", "c", "f"]);
    expect(names([], { architecture: "arm64", kernelRelease: "4.19.1" })).toEqual(["mount", "b", "d", "e", "f"]);
  });

  const rule = (more: object) => ({ defaultAction: "SCMP_ACT_ALLOW", syscalls: [{ names: ["read"], ...more }] });
  const log = "SCMP_ACT_LOG";
  const arg = (more: object) => rule({ action: log, args: [{ index: 0, value: 1, op: "SCMP_CMP_EQ", ...more }] });
  for (const [what, value] of [
    ["text", "x"],
    ["a list", []],
    ["no default action", {}],
    ["an unknown default action", { defaultAction: "ALLOW" }],
    ["a notification", rule({ action: "SCMP_ACT_NOTIFY" })],
    ["a listener", { defaultAction: "SCMP_ACT_ALLOW", listenerPath: "/x" }],
    ["an unknown flag", { defaultAction: "SCMP_ACT_ALLOW", flags: ["SECCOMP_FILTER_FLAG_NEW_LISTENER"] }],
    ["a bad architecture", { defaultAction: "SCMP_ACT_ALLOW", architectures: ["amd64"] }],
    ["a rule without names", { defaultAction: "SCMP_ACT_ALLOW", syscalls: [{ action: log }] }],
    ["a rule that is no object", { defaultAction: "SCMP_ACT_ALLOW", syscalls: ["read"] }],
    ["a bad name", rule({ names: ["READ;"], action: log })],
    ["an errno beyond the kernel's", rule({ action: "SCMP_ACT_ERRNO", errnoRet: 5000 })],
    ["a bad comparison", arg({ op: "EQ" })],
    ["a seventh argument", arg({ index: 6 })],
    ["a negative value", arg({ value: -1 })],
    ["a value of text", arg({ value: "1" })],
    ["capabilities that are no list", rule({ action: log, includes: { caps: "CAP_KILL" } })],
    ["a bad kernel version", rule({ action: log, includes: { minKernel: "new" } })],
    [
      "too many rules",
      { defaultAction: "SCMP_ACT_ALLOW", syscalls: Array(1025).fill({ names: ["read"], action: log }) },
    ],
  ] as const) {
    it(`is refused with ${what}`, () => {
      expect(() => parseProfile(json(value))).toThrow(expect.objectContaining({ reason: "INVALID_SECCOMP" }));
    });
  }

  it("is refused when it is no JSON, or too large", () => {
    for (const bytes of [Buffer.from("{"), Buffer.alloc(0), Buffer.alloc((1 << 20) + 1, " ")])
      expect(() => parseProfile(bytes)).toThrow(expect.objectContaining({ reason: "INVALID_SECCOMP" }));
  });

  it("is refused by the compiler with an architecture that there is not", () => {
    const profile = parseProfile(json({ defaultAction: "SCMP_ACT_ALLOW", architectures: ["SCMP_ARCH_Z80"] }));
    expect(() => new SeccompFilters(host).get(profile, 0n)).toThrow(
      expect.objectContaining({ reason: "INVALID_SECCOMP" }),
    );
  });

  it("never fails in another way, whatever the JSON", () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.jsonValue(), (syscalls, extra) => {
        try {
          parseProfile(json({ defaultAction: "SCMP_ACT_ALLOW", syscalls, architectures: extra, flags: extra }));
        } catch (error) {
          expect(error).toMatchObject({ reason: "INVALID_SECCOMP" });
        }
      }),
    );
  });
});
