import { existsSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { compileSeccomp, type SeccompAction, type SeccompArgument, type SeccompRules } from "./seccomp.js";
import { caught } from "./testing/caught.js";

const LIBRARY = "/usr/lib/x86_64-linux-gnu/libseccomp.so.2";
const X86_64 = 0xc000_003e;
const I386 = 0x4000_0003;
/** Numbers of x86-64. */
const NR = { read: 0, write: 1, mount: 165, personality: 135, clone: 56, getpid: 39 } as const;
const RET = { ALLOW: 0x7fff_0000, ERRNO: 0x0005_0000, KILL_PROCESS: 0x8000_0000, KILL_THREAD: 0 } as const;

/** What a filter answers: the part of classic BPF that libseccomp uses. <linux/filter.h>, struct seccomp_data. */
function run(filter: Buffer, arch: number, number: number, args: bigint[] = []): number {
  const data = Buffer.alloc(64);
  data.writeInt32LE(number, 0);
  data.writeUInt32LE(arch, 4);
  args.forEach((value, i) => {
    data.writeBigUInt64LE(value, 16 + 8 * i);
  });
  let a = 0;
  for (let at = 0; at < filter.length; at += 8) {
    const code = filter.readUInt16LE(at);
    const [yes, no] = [filter.readUInt8(at + 2), filter.readUInt8(at + 3)];
    const k = filter.readUInt32LE(at + 4);
    const jump = (taken: boolean) => {
      at += 8 * (taken ? yes : no);
    };
    if (code === 0x20) a = data.readUInt32LE(k);
    else if (code === 0x54) a = (a & k) >>> 0;
    else if (code === 0x05) at += 8 * k;
    else if (code === 0x15) jump(a === k);
    else if (code === 0x25) jump(a > k);
    else if (code === 0x35) jump(a >= k);
    else if (code === 0x06) return k;
    else throw new Error(`instruction 0x${code.toString(16)} at ${at / 8}`);
  }
  throw new Error("the filter ran off its end");
}

const rules = (change: Partial<SeccompRules>): SeccompRules => ({
  defaultAction: "SCMP_ACT_ERRNO",
  architectures: [],
  rules: [],
  ...change,
});
const allow = (names: string[], args: SeccompArgument[] = []) => ({
  names,
  action: "SCMP_ACT_ALLOW" as SeccompAction,
  args,
});

describe.skipIf(!existsSync(LIBRARY) || process.arch !== "x64")(`seccomp (needs ${LIBRARY} and x86-64)`, () => {
  it("allows what is listed and refuses the rest with the errno that is asked for", () => {
    const filter = compileSeccomp(
      rules({
        defaultErrno: 38,
        rules: [allow(["read", "write"]), { names: ["mount"], action: "SCMP_ACT_ERRNO", args: [] }],
      }),
    );
    expect(filter.length % 8).toBe(0);
    expect(run(filter, X86_64, NR.read)).toBe(RET.ALLOW);
    expect(run(filter, X86_64, NR.write)).toBe(RET.ALLOW);
    expect(run(filter, X86_64, NR.mount)).toBe(RET.ERRNO + 1);
    expect(run(filter, X86_64, NR.getpid)).toBe(RET.ERRNO + 38);
    // Another architecture's calls have other numbers: killed unless it is listed.
    expect(run(filter, I386, 3)).toBe(RET.KILL_THREAD);
  });

  it("knows the architectures that are listed", () => {
    const filter = compileSeccomp(
      rules({ architectures: ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"], rules: [allow(["read"])] }),
    );
    expect(run(filter, I386, 3)).toBe(RET.ALLOW);
    expect(run(filter, X86_64, NR.read)).toBe(RET.ALLOW);
    expect(run(filter, X86_64, NR.write)).toBe(RET.ERRNO + 1);
  });

  it("compares arguments of 64 bits", () => {
    const condition = (op: string, value: bigint, valueTwo = 0n, index = 0) => ({ index, op, value, valueTwo });
    const big = 0x1_0000_0005n;
    const compiled = (...args: SeccompArgument[]) => compileSeccomp(rules({ rules: [allow(["personality"], args)] }));
    const allows = (filter: Buffer, ...args: bigint[]) => run(filter, X86_64, NR.personality, args) === RET.ALLOW;
    const cases: [string, (argument: bigint) => boolean][] = [
      ["SCMP_CMP_EQ", (argument) => argument === big],
      ["SCMP_CMP_NE", (argument) => argument !== big],
      ["SCMP_CMP_LT", (argument) => argument < big],
      ["SCMP_CMP_LE", (argument) => argument <= big],
      ["SCMP_CMP_GT", (argument) => argument > big],
      ["SCMP_CMP_GE", (argument) => argument >= big],
    ];
    for (const [op, expected] of cases) {
      const filter = compiled(condition(op, big));
      for (const argument of [0n, 5n, big - 1n, big, big + 1n, 2n ** 64n - 1n])
        expect(allows(filter, argument), `${op} ${argument}`).toBe(expected(argument));
    }
    const masked = compiled(condition("SCMP_CMP_MASKED_EQ", 0x7e02_0000n, 0n));
    expect(allows(masked, 0x11n)).toBe(true);
    expect(allows(masked, 0x1002_0000n)).toBe(false);
    // All conditions must hold, but several on one argument are alternatives.
    const both = compiled(condition("SCMP_CMP_EQ", 1n), condition("SCMP_CMP_EQ", 2n, 0n, 1));
    expect([allows(both, 1n, 2n), allows(both, 1n, 3n), allows(both, 2n, 2n)]).toEqual([true, false, false]);
    const either = compiled(condition("SCMP_CMP_EQ", 1n), condition("SCMP_CMP_EQ", 2n));
    expect([allows(either, 1n), allows(either, 2n), allows(either, 3n)]).toEqual([true, true, false]);
  });

  it("skips what it does not know, and what the default says anyway", () => {
    const filter = compileSeccomp(
      rules({
        defaultAction: "SCMP_ACT_ALLOW",
        rules: [allow(["read"]), { names: ["no_such_call", "mount"], action: "SCMP_ACT_KILL_PROCESS", args: [] }],
      }),
    );
    expect(run(filter, X86_64, NR.mount)).toBe(RET.KILL_PROCESS);
    expect(run(filter, X86_64, NR.read)).toBe(RET.ALLOW);
  });

  it("says what is not valid", () => {
    const bad: Partial<SeccompRules>[] = [
      { architectures: ["SCMP_ARCH_NONE"] },
      { architectures: ["x86_64"] },
      { defaultAction: "SCMP_ACT_NOTIFY" as SeccompAction },
      { defaultErrno: 4095 },
      { defaultErrno: -1 },
      { flags: ["SECCOMP_FILTER_FLAG_NEW_LISTENER"] },
      { rules: [allow(["read"], [{ index: 6, op: "SCMP_CMP_EQ", value: 0n, valueTwo: 0n }])] },
      { rules: [allow(["read"], [{ index: 0, op: "SCMP_CMP_EQ", value: 2n ** 64n, valueTwo: 0n }])] },
      { rules: [allow(["read"], [{ index: 0, op: "SCMP_CMP_EQ", value: -1n, valueTwo: 0n }])] },
      { rules: [allow(["read"], [{ index: 0, op: "SCMP_CMP_ISH", value: 0n, valueTwo: 0n }])] },
    ];
    for (const change of bad)
      expect(
        caught(() => compileSeccomp(rules(change))),
        JSON.stringify(change, (_, value) => String(value)),
      ).toMatchObject({ code: "EINVAL" });
    expect(compileSeccomp(rules({ flags: ["SECCOMP_FILTER_FLAG_LOG"] })).length).toBeGreaterThan(0);
    // More instructions than the kernel takes.
    const many = Array.from({ length: 5000 }, (_, i) =>
      allow(["personality"], [{ index: 0, op: "SCMP_CMP_EQ", value: BigInt(i), valueTwo: 0n }]),
    );
    expect(caught(() => compileSeccomp(rules({ rules: many })))).toMatchObject({ code: "E2BIG" });
  });

  it("decides of any list of calls as the list says", () => {
    const names = ["read", "write", "mount", "personality", "clone", "getpid"] as const;
    fc.assert(
      fc.property(fc.subarray([...names]), fc.integer({ min: 0, max: 4094 }), (listed, defaultErrno) => {
        const filter = compileSeccomp(rules({ defaultErrno, rules: [allow([...listed])] }));
        for (const name of names)
          expect(run(filter, X86_64, NR[name])).toBe(listed.includes(name) ? RET.ALLOW : RET.ERRNO + defaultErrno);
      }),
      { numRuns: 50 },
    );
  });
});
