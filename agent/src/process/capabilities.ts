import type { CapabilitySets } from "@zone/native";
import { CAPABILITY_NAMES, DEFAULT_CAPABILITY_NAMES, plainCapabilityName } from "@zone/proto";
import { invalid } from "../errors.js";

/** A set of capabilities: bit n is capability n. */
export type CapabilityMask = bigint;

/** Every capability that Linux 5.9 and later knows. */
export const ALL_CAPABILITIES: CapabilityMask = (1n << BigInt(CAPABILITY_NAMES.length)) - 1n;

/** What Docker gives a container. */
export const DEFAULT_CAPABILITIES: CapabilityMask = parseCapabilities(DEFAULT_CAPABILITY_NAMES);

/** The set of these names: "CAP_CHOWN", "chown" or "ALL". Throws INVALID_CAPABILITY on any other. */
export function parseCapabilities(names: readonly string[]): CapabilityMask {
  let mask = 0n;
  for (const name of names) {
    const plain = plainCapabilityName(name);
    if (plain === "ALL") {
      mask |= ALL_CAPABILITIES;
      continue;
    }
    const number = CAPABILITY_NAMES.indexOf(plain);
    if (number < 0)
      throw invalid("INVALID_CAPABILITY", `"${name.slice(0, 40)}" is not a capability; capabilities(7) lists them`);
    mask |= 1n << BigInt(number);
  }
  return mask;
}

/** The same without an error: of names that somebody else's list may hold, and this kernel not know. */
export function knownCapabilities(names: readonly string[]): CapabilityMask {
  return parseCapabilities(names.filter((name) => CAPABILITY_NAMES.includes(plainCapabilityName(name))));
}

/**
 * The sets of a process that may have `mask`. Root has them; another user keeps them in the bounding set alone, where
 * set-user-ID programs find them. Nothing is inheritable: Docker's CVE-2022-24769 was that.
 */
export function capabilitySets(mask: CapabilityMask, uid: number): CapabilitySets {
  const held = uid === 0 ? mask : 0n;
  return { bounding: mask, permitted: held, effective: held, inheritable: 0n, ambient: 0n };
}
