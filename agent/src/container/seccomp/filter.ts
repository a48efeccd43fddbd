import { compileSeccomp, SECCOMP_FLAG, type SeccompAction, type SeccompRule, type SeccompRules } from "@zone/native";
import { CAPABILITY_NAMES } from "@zone/proto";
import { describe, errnoOf, invalid } from "../../errors.js";
import type { CapabilityMask } from "../../process/capabilities.js";
import type { RuleCondition, SeccompProfile, SyscallRule } from "./profile.js";

/** A filter as seccomp(2) takes it. */
export interface SeccompFilter {
  /** struct sock_filter[] */
  program: Buffer;
  /** SECCOMP_FLAG bits. */
  flags: number;
}

/** What a profile's conditions are about. */
export interface SeccompHost {
  /** As Node names it: "x64", "arm64". */
  architecture: string;
  /** uname(2): "6.1.0-13-amd64" */
  kernelRelease: string;
}

/** Go's, and so Docker's, names of what Node calls otherwise; and the architectures whose programs the kernel runs as well. */
const ARCHITECTURES: Record<string, { docker: string; native: string[] }> = {
  x64: { docker: "amd64", native: ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"] },
  arm64: { docker: "arm64", native: ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"] },
};

/** Sets of capabilities of one profile whose filters are kept: a request can name any of 2^41. */
const KEPT_FILTERS = 32;

/** Filters of profiles, compiled when they are first wanted, once for each set of capabilities that is in use. */
export class SeccompFilters {
  readonly #host: SeccompHost;
  readonly #compiled = new WeakMap<SeccompProfile, Map<CapabilityMask, SeccompFilter>>();

  constructor(host: SeccompHost) {
    this.#host = host;
  }

  /** The filter of `profile` for a process that may have `capabilities`. Throws INVALID_SECCOMP. */
  get(profile: SeccompProfile, capabilities: CapabilityMask): SeccompFilter {
    let byCapabilities = this.#compiled.get(profile);
    if (!byCapabilities) {
      byCapabilities = new Map();
      this.#compiled.set(profile, byCapabilities);
    }
    const filter = byCapabilities.get(capabilities) ?? compile(profile, capabilities, this.#host);
    // The last used is the last in the map.
    byCapabilities.delete(capabilities);
    byCapabilities.set(capabilities, filter);
    const [oldest] = byCapabilities.keys();
    if (byCapabilities.size > KEPT_FILTERS && oldest !== undefined) byCapabilities.delete(oldest);
    return filter;
  }
}

function compile(profile: SeccompProfile, capabilities: CapabilityMask, host: SeccompHost): SeccompFilter {
  const rules = rulesFor(profile, capabilities, host);
  let flags = 0;
  if (profile.flags.includes("SECCOMP_FILTER_FLAG_LOG")) flags |= SECCOMP_FLAG.LOG;
  if (profile.flags.includes("SECCOMP_FILTER_FLAG_SPEC_ALLOW")) flags |= SECCOMP_FLAG.SPEC_ALLOW;
  try {
    return { program: compileSeccomp(rules), flags };
  } catch (error) {
    if (!["EINVAL", "E2BIG"].includes(errnoOf(error) ?? "")) throw error;
    throw invalid("INVALID_SECCOMP", `seccomp: the profile cannot be compiled: ${describe(error)}`);
  }
}

/** The rules of `profile` whose conditions hold. */
export function rulesFor(profile: SeccompProfile, capabilities: CapabilityMask, host: SeccompHost): SeccompRules {
  const architecture = ARCHITECTURES[host.architecture] ?? { docker: host.architecture, native: [] };
  const has = (name: string) => {
    const number = CAPABILITY_NAMES.indexOf(name.replace(/^CAP_/, ""));
    return number >= 0 && (capabilities & (1n << BigInt(number))) !== 0n;
  };
  const kernel = versionOf(host.kernelRelease);
  /** Docker: all of the capabilities that a rule includes must be there, and any that it excludes makes it void. */
  const counts = ({ includes, excludes }: SyscallRule) =>
    (!includes || holds(includes, (names) => names.every(has))) && !(excludes && touches(excludes));
  const holds = (condition: RuleCondition, capable: (names: readonly string[]) => boolean) =>
    capable(condition.capabilities) &&
    (condition.architectures.length === 0 || condition.architectures.includes(architecture.docker)) &&
    (!condition.minKernel || isAtLeast(kernel, condition.minKernel));
  const touches = (condition: RuleCondition) =>
    condition.capabilities.some(has) ||
    condition.architectures.includes(architecture.docker) ||
    (condition.minKernel !== undefined && isAtLeast(kernel, condition.minKernel));
  return {
    defaultAction: profile.defaultAction as SeccompAction,
    ...(profile.defaultErrno === undefined ? {} : { defaultErrno: profile.defaultErrno }),
    architectures: [...(profile.architectures ?? architecture.native)],
    flags: [...profile.flags],
    rules: profile.rules.filter(counts).map(toRule),
  };
}

function toRule({ names, action, errno, args }: SyscallRule): SeccompRule {
  const rule = { names: [...names], action: action as SeccompAction, args: args.map((arg) => ({ ...arg })) };
  return errno === undefined ? rule : { ...rule, errno };
}

type Version = readonly [major: number, minor: number];

function versionOf(release: string): Version {
  const [, major = 0, minor = 0] = /^(\d+)\.(\d+)/.exec(release) ?? [];
  return [Number(major), Number(minor)];
}

function isAtLeast(kernel: Version, wanted: Version): boolean {
  return kernel[0] !== wanted[0] ? kernel[0] > wanted[0] : kernel[1] >= wanted[1];
}
