import { addon, type SeccompHandle } from "./addon.js";

/** Actions of the OCI runtime-spec (linux.seccomp). SCMP_ACT_NOTIFY is not among them: nobody here would answer. */
export type SeccompAction =
  | "SCMP_ACT_ALLOW"
  | "SCMP_ACT_LOG"
  | "SCMP_ACT_ERRNO"
  | "SCMP_ACT_TRACE"
  | "SCMP_ACT_TRAP"
  | "SCMP_ACT_KILL"
  | "SCMP_ACT_KILL_THREAD"
  | "SCMP_ACT_KILL_PROCESS";

export interface SeccompArgument {
  /** Which argument of the system call, 0 to 5. */
  index: number;
  value: bigint;
  /** With SCMP_CMP_MASKED_EQ what (argument & value) is compared with. */
  valueTwo: bigint;
  /** SCMP_CMP_NE, LT, LE, EQ, GE, GT or MASKED_EQ. */
  op: string;
}

export interface SeccompRule {
  names: string[];
  action: SeccompAction;
  /** Of SCMP_ACT_ERRNO and SCMP_ACT_TRACE; EPERM when absent. */
  errno?: number;
  /** All must hold. Two on the same argument make rules of their own, any of which may hold, as in runc and crun. */
  args: SeccompArgument[];
}

export interface SeccompRules {
  defaultAction: SeccompAction;
  defaultErrno?: number;
  /** SCMP_ARCH_X86_64... beside the native one, which is always there. Unknown ones are an error. */
  architectures: string[];
  rules: SeccompRule[];
  /** SECCOMP_FILTER_FLAG_*: checked here, but they belong to the loading (seccomp(2)) and are not in the filter. */
  flags?: string[];
}

const EPERM = 1;
const EINVAL = 22;
/** ERRNO and TRACE carry 16 bits; of an errno, libseccomp takes what is below the kernel's MAX_ERRNO. */
const MAX_ERRNO = 4094;

/** SECCOMP_RET_* of <linux/seccomp.h>, which are libseccomp's SCMP_ACT_* too. */
const ACTION: Record<SeccompAction, number> = {
  SCMP_ACT_ALLOW: 0x7fff_0000,
  SCMP_ACT_LOG: 0x7ffc_0000,
  SCMP_ACT_TRACE: 0x7ff0_0000,
  SCMP_ACT_ERRNO: 0x0005_0000,
  SCMP_ACT_TRAP: 0x0003_0000,
  SCMP_ACT_KILL: 0,
  SCMP_ACT_KILL_THREAD: 0,
  SCMP_ACT_KILL_PROCESS: 0x8000_0000,
};

/** enum scmp_compare of <seccomp.h>. */
const COMPARE: Record<string, bigint> = {
  SCMP_CMP_NE: 1n,
  SCMP_CMP_LT: 2n,
  SCMP_CMP_LE: 3n,
  SCMP_CMP_EQ: 4n,
  SCMP_CMP_GE: 5n,
  SCMP_CMP_GT: 6n,
  SCMP_CMP_MASKED_EQ: 7n,
};

const FLAGS = new Set(["SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"]);

/**
 * Compiles rules to a filter for seccomp(2): an array of struct sock_filter, 8 bytes each. System calls that libseccomp does
 * not know are skipped, as runc and crun do; so are rules that say what the default says. Throws ENOSYS when libseccomp.so.2
 * is not there, EINVAL for what is not valid (the message says what), E2BIG for a filter above the kernel's 4096 instructions.
 */
export function compileSeccomp(rules: SeccompRules): Buffer {
  for (const flag of rules.flags ?? []) if (!FLAGS.has(flag)) throw invalid(`flag '${flag}'`);
  const defaultAction = encodeAction(rules.defaultAction, rules.defaultErrno);
  const filter = addon().seccompOpen(defaultAction);
  try {
    for (const name of rules.architectures) addArchitecture(filter, name);
    for (const rule of rules.rules) {
      const action = encodeAction(rule.action, rule.errno);
      if (action === defaultAction) continue;
      const alternatives = alternativesOf(rule.args);
      for (const name of rule.names) {
        for (const conditions of alternatives) addon().seccompRule(filter, action, name, conditions);
      }
    }
    return addon().seccompExport(filter);
  } finally {
    addon().seccompClose(filter);
  }
}

function encodeAction(action: SeccompAction, errno: number = EPERM): number {
  const value = ACTION[action];
  if (value === undefined) throw invalid(`action '${action}'`);
  if (action !== "SCMP_ACT_ERRNO" && action !== "SCMP_ACT_TRACE") return value;
  const most = action === "SCMP_ACT_ERRNO" ? MAX_ERRNO : 0xffff;
  if (!Number.isInteger(errno) || errno < 0 || errno > most) throw invalid(`errno ${errno} of ${action}`);
  return value | errno;
}

function addArchitecture(filter: SeccompHandle, name: string): void {
  const short = /^SCMP_ARCH_([A-Z0-9_]+)$/.exec(name)?.[1]?.toLowerCase();
  if (short === undefined || !addon().seccompArchitecture(filter, short)) throw invalid(`architecture '${name}'`);
}

/** Flat conditions of one rule each: index, comparison, two values. */
function alternativesOf(args: readonly SeccompArgument[]): BigUint64Array[] {
  const conditions = args.map((argument) => {
    const compare = COMPARE[argument.op];
    if (compare === undefined) throw invalid(`comparison '${argument.op}'`);
    if (!Number.isInteger(argument.index) || argument.index < 0 || argument.index > 5)
      throw invalid(`argument index ${argument.index}`);
    for (const value of [argument.value, argument.valueTwo])
      if (BigInt.asUintN(64, value) !== value) throw invalid(`value ${value}, which is not one of 64 bits`);
    return [BigInt(argument.index), compare, argument.value, argument.valueTwo];
  });
  const distinct = new Set(args.map((argument) => argument.index)).size === args.length;
  return distinct ? [BigUint64Array.from(conditions.flat())] : conditions.map((one) => BigUint64Array.from(one));
}

function invalid(what: string): Error {
  return Object.assign(new Error(`EINVAL: the seccomp profile has ${what}, which is not known, libseccomp`), {
    code: "EINVAL",
    errno: -EINVAL,
    syscall: "libseccomp",
  });
}
