import { CAPABILITY_NAMES, DEFAULT_CAPABILITY_NAMES, plainCapabilityName } from "@zone/proto";
import { checkCount, invalid, quote } from "./spec-error.js";

/** INVALID_SECURITY on a name that is no capability. */
export function checkCapabilities(names: readonly string[]): void {
  checkCount("INVALID_SECURITY", "capabilities", names, 2 * CAPABILITY_NAMES.length);
  for (const name of names) {
    const plain = plainCapabilityName(name);
    if (plain === "ALL" || CAPABILITY_NAMES.includes(plain)) continue;
    throw invalid("INVALID_SECURITY", `${quote(name)} is no capability: capabilities(7) lists them, such as NET_ADMIN`);
  }
}

/**
 * What a process has by Docker's rules: the default set, or with an ALL in either list all or none, then what is added, then
 * without what is dropped. Undefined when neither list says anything.
 */
export function capabilitiesOf(add: readonly string[], drop: readonly string[]): string[] | undefined {
  if (add.length === 0 && drop.length === 0) return undefined;
  const [added, dropped] = [add, drop].map((names) => new Set(names.map(plainCapabilityName))) as [
    Set<string>,
    Set<string>,
  ];
  const base = added.has("ALL") ? CAPABILITY_NAMES : dropped.has("ALL") ? [] : DEFAULT_CAPABILITY_NAMES;
  return CAPABILITY_NAMES.filter((name) => (base.includes(name) || added.has(name)) && !dropped.has(name));
}
