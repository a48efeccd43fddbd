import { invalid } from "../../errors.js";
import { type Fields, jsonFields } from "../json-fields.js";
import { parseExactJson } from "../oci/exact-json.js";

/** When a rule counts: all that is named must be so. */
export interface RuleCondition {
  /** "CAP_SYS_ADMIN" */
  capabilities: readonly string[];
  /** Docker's names: "amd64", "arm64". */
  architectures: readonly string[];
  /** The kernel is at least so new. */
  minKernel?: readonly [major: number, minor: number];
}

export interface ArgumentRule {
  /** 0 to 5. */
  index: number;
  value: bigint;
  valueTwo: bigint;
  /** SCMP_CMP_* */
  op: string;
}

/** What happens on some system calls. */
export interface SyscallRule {
  names: readonly string[];
  /** SCMP_ACT_* */
  action: string;
  /** Of SCMP_ACT_ERRNO and SCMP_ACT_TRACE. */
  errno?: number;
  /** All of them must hold. */
  args: readonly ArgumentRule[];
  includes?: RuleCondition;
  excludes?: RuleCondition;
}

/** A seccomp profile: the OCI runtime specification's linux.seccomp, or Docker's form of it, which adds conditions. */
export interface SeccompProfile {
  defaultAction: string;
  defaultErrno: number | undefined;
  /** SCMP_ARCH_*; undefined: the zone's own, with those whose programs its kernel runs too. */
  architectures: readonly string[] | undefined;
  /** SECCOMP_FILTER_FLAG_* */
  flags: readonly string[];
  rules: readonly SyscallRule[];
}

const MAX_BYTES = 1 << 20;
const MAX_RULES = 1024;
const MAX_NAMES = 4096;
const ACTIONS = new Set(
  ["KILL", "KILL_PROCESS", "KILL_THREAD", "TRAP", "ERRNO", "TRACE", "ALLOW", "LOG"].map((name) => `SCMP_ACT_${name}`),
);
const OPERATORS = new Set(["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"].map((name) => `SCMP_CMP_${name}`));
const FLAGS = new Set(["SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"]);
/** errno(3) fits in 12 bits: seccomp(2), SECCOMP_RET_ERRNO. */
const MAX_ERRNO = 4095;

const { fields, list } = jsonFields(refuse);

/** Reads a profile as JSON in either form. Throws INVALID_SECCOMP, naming what is wrong and where. */
export function parseProfile(bytes: Uint8Array): SeccompProfile {
  if (bytes.length > MAX_BYTES) throw refuse(`the profile has ${bytes.length} bytes; at most ${MAX_BYTES} are allowed`);
  let value: unknown;
  try {
    value = parseExactJson(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("utf8"));
  } catch {
    throw refuse("the profile is no JSON");
  }
  return readProfile(value);
}

/** The same of JSON that was parsed already: linux.seccomp of an OCI bundle. */
export function readProfile(value: unknown): SeccompProfile {
  const profile = fields(value, "the profile");
  // A listener is a program that would have to be somewhere, and gets descriptors of the container's processes.
  if (profile.listenerPath !== undefined || profile.listenerMetadata !== undefined)
    throw refuse("listenerPath is not served: there is nobody to ask");
  const syscalls = list(profile.syscalls, "syscalls");
  if (syscalls.length > MAX_RULES) throw refuse(`${syscalls.length} rules; at most ${MAX_RULES} are allowed`);
  const rules = syscalls.map((rule, index) => readRule(rule, `syscalls[${index}]`));
  if (rules.reduce((sum, { names }) => sum + names.length, 0) > MAX_NAMES)
    throw refuse(`more than ${MAX_NAMES} names of system calls`);
  const flags = strings(profile.flags, "flags");
  for (const flag of flags) if (!FLAGS.has(flag)) throw refuse(`flag "${flag.slice(0, 60)}" is not known`);
  return {
    defaultAction: action(profile.defaultAction, "defaultAction"),
    defaultErrno: optional(profile.defaultErrnoRet, (errno) => whole(errno, "defaultErrnoRet", MAX_ERRNO)),
    architectures: readArchitectures(profile),
    flags,
    rules,
  };
}

/** Docker's archMap says which go with one that the profile is for; ours of the zone say the same. */
function readArchitectures(profile: Fields): readonly string[] | undefined {
  const named = strings(profile.architectures, "architectures");
  for (const name of named) if (!/^SCMP_ARCH_[A-Z0-9_]+$/.test(name)) throw refuse(`"${name}" is no architecture`);
  return named.length === 0 ? undefined : named;
}

function readRule(value: unknown, where: string): SyscallRule {
  const rule = fields(value, where);
  const names = strings(rule.names, `${where}.names`);
  if (typeof rule.name === "string") names.push(rule.name);
  if (names.length === 0) throw refuse(`${where} names no system call`);
  for (const name of names) if (!/^[a-z0-9_]{1,64}$/.test(name)) throw refuse(`${where}: "${name}" is no system call`);
  const args = list(rule.args, `${where}.args`).map((arg, index) => readArgument(arg, `${where}.args[${index}]`));
  if (args.length > 6) throw refuse(`${where} has ${args.length} arguments; a system call has 6`);
  return {
    names,
    action: action(rule.action, `${where}.action`),
    errno: optional(rule.errnoRet, (errno) => whole(errno, `${where}.errnoRet`, MAX_ERRNO)),
    args,
    includes: optional(rule.includes, (condition) => readCondition(condition, `${where}.includes`)),
    excludes: optional(rule.excludes, (condition) => readCondition(condition, `${where}.excludes`)),
  };
}

function readArgument(value: unknown, where: string): ArgumentRule {
  const arg = fields(value, where);
  if (typeof arg.op !== "string" || !OPERATORS.has(arg.op)) throw refuse(`${where}.op is no comparison: SCMP_CMP_EQ`);
  return {
    index: whole(arg.index, `${where}.index`, 5),
    value: word(arg.value, `${where}.value`),
    valueTwo: word(arg.valueTwo, `${where}.valueTwo`),
    op: arg.op,
  };
}

function readCondition(value: unknown, where: string): RuleCondition {
  const condition = fields(value, where);
  const version = optional(condition.minKernel, (text) => {
    const match = typeof text === "string" ? /^(\d{1,3})\.(\d{1,5})$/.exec(text) : null;
    if (!match) throw refuse(`${where}.minKernel is no version: "4.8"`);
    return [Number(match[1]), Number(match[2])] as const;
  });
  return {
    capabilities: strings(condition.caps, `${where}.caps`),
    architectures: strings(condition.arches, `${where}.arches`),
    ...(version ? { minKernel: version } : {}),
  };
}

function action(value: unknown, where: string): string {
  if (typeof value === "string" && ACTIONS.has(value)) return value;
  if (value === "SCMP_ACT_NOTIFY") throw refuse(`${where} is SCMP_ACT_NOTIFY, which is not served: nobody listens`);
  throw refuse(`${where} is no action: SCMP_ACT_ALLOW`);
}

function strings(value: unknown, where: string): string[] {
  return list(value, where).map((text) => {
    if (typeof text === "string") return text;
    throw refuse(`${where} holds something else than text`);
  });
}

function optional<T>(value: unknown, read: (value: unknown) => T): T | undefined {
  return value === undefined || value === null ? undefined : read(value);
}

function whole(value: unknown, where: string, max: number): number {
  if (typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= max) return value;
  throw refuse(`${where} is no whole number from 0 to ${max}`);
}

/** 64 bits; 0 when absent. */
function word(value: unknown, where: string): bigint {
  if (typeof value !== "bigint") return BigInt(whole(value ?? 0, where, Number.MAX_SAFE_INTEGER));
  if (value >= 0n && value < 1n << 64n) return value;
  throw refuse(`${where} is no number of 64 bits`);
}

function refuse(why: string): Error {
  return invalid("INVALID_SECCOMP", `seccomp: ${why}`);
}
