import { addon } from "./addon.js";

export interface DeviceRule {
  allow: boolean;
  /** All, block or character devices. */
  type: "a" | "b" | "c";
  /** Without one: any. */
  major?: number;
  minor?: number;
  /** Letters of "rwm": read, write, mknod(2). */
  access: string;
}

/** Rules of one policy; each is a few instructions of a program that the kernel verifies. */
export const MAX_DEVICE_RULES = 1000;

const ACCESS: Record<string, number> = { m: 1, r: 2, w: 4 };
const TYPE = { a: 0, b: 1, c: 2 } as const;
/** Words per rule in what the addon takes: allow, type, access, has major, major, has minor, minor. */
const RULE_WORDS = 7;

/**
 * Which devices the processes of a cgroup (v2) may open and make: for each kind of access that is asked for, the first rule
 * that names the device and that kind decides, else `defaultAllow`; all that is asked for must be allowed. Replaces this
 * addon's earlier policy of that cgroup without a gap, and leaves programs of others (which must allow too). Throws EINVAL for a
 * bad rule and E2BIG for more than MAX_DEVICE_RULES. bpf(2), BPF_PROG_TYPE_CGROUP_DEVICE; kernel's cgroup-v2.rst, "Device controller".
 */
export function attachDevicePolicy(cgroupFd: number, rules: readonly DeviceRule[], defaultAllow: boolean): void {
  if (rules.length > MAX_DEVICE_RULES) throw ruleError("E2BIG", -7, `more than ${MAX_DEVICE_RULES} rules`);
  const words = new Uint32Array(rules.length * RULE_WORDS);
  rules.forEach((rule, i) => {
    words.set(encodeRule(rule), i * RULE_WORDS);
  });
  addon().attachDevicePolicy(cgroupFd, words, defaultAllow);
}

/** Takes this addon's policy off the cgroup; nothing happens when there is none. */
export function detachDevicePolicy(cgroupFd: number): void {
  addon().detachDevicePolicy(cgroupFd);
}

function encodeRule(rule: DeviceRule): number[] {
  let access = 0;
  for (const letter of rule.access) access |= ACCESS[letter] ?? 0x100;
  const type = TYPE[rule.type];
  if (type === undefined) throw ruleError("EINVAL", -22, `device type '${rule.type}' is none of a, b, c`);
  if (access === 0 || access >= 0x100)
    throw ruleError("EINVAL", -22, `device access '${rule.access}' is not made of r, w and m`);
  for (const number of [rule.major, rule.minor]) {
    if (number !== undefined && !(Number.isInteger(number) && number >= 0 && number <= 0xffff_ffff))
      throw ruleError("EINVAL", -22, `device number ${number} is not one of 32 bits`);
  }
  return [
    rule.allow ? 1 : 0,
    type,
    access,
    rule.major === undefined ? 0 : 1,
    rule.major ?? 0,
    rule.minor === undefined ? 0 : 1,
    rule.minor ?? 0,
  ];
}

function ruleError(code: string, errno: number, text: string): Error {
  return Object.assign(new Error(`${code}: ${text}, bpf`), { code, errno, syscall: "bpf" });
}
