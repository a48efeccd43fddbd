import { checkCount, invalid, quote } from "./spec-error.js";

/** capabilities(7), without CAP_. */
const ALL = [
  ...["CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP"],
  ...["LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER"],
  ...["SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE"],
  ...["SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP"],
  ...["MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF"],
  "CHECKPOINT_RESTORE",
];
/** https://docs.docker.com/engine/containers/run/#runtime-privilege-and-linux-capabilities */
const DEFAULT = [
  ...["CHOWN", "DAC_OVERRIDE", "FSETID", "FOWNER", "MKNOD", "NET_RAW", "SETGID", "SETUID"],
  ...["SETFCAP", "SETPCAP", "NET_BIND_SERVICE", "SYS_CHROOT", "KILL", "AUDIT_WRITE"],
];

/** INVALID_SECURITY on a name that is no capability. */
export function checkCapabilities(names: readonly string[]): void {
  checkCount("INVALID_SECURITY", "capabilities", names, 2 * ALL.length);
  for (const name of names) {
    const plain = plainName(name);
    if (plain === "ALL" || ALL.includes(plain)) continue;
    throw invalid("INVALID_SECURITY", `${quote(name)} is no capability: capabilities(7) lists them, such as NET_ADMIN`);
  }
}

/**
 * What a process has by Docker's rules: the default set, or with an ALL in either list all or none, then what is added, then
 * without what is dropped. Undefined when neither list says anything.
 */
export function capabilitiesOf(add: readonly string[], drop: readonly string[]): string[] | undefined {
  if (add.length === 0 && drop.length === 0) return undefined;
  const [added, dropped] = [add, drop].map((names) => new Set(names.map(plainName))) as [Set<string>, Set<string>];
  const base = added.has("ALL") ? ALL : dropped.has("ALL") ? [] : DEFAULT;
  return ALL.filter((name) => (base.includes(name) || added.has(name)) && !dropped.has(name));
}

function plainName(name: string): string {
  return name.toUpperCase().replace(/^CAP_/, "");
}
