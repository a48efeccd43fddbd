import { AF } from "./constants.js";

/** The family when it is IPv4 or IPv6. */
export function familyOf(value: number): typeof AF.INET | typeof AF.INET6 | undefined {
  return value === AF.INET || value === AF.INET6 ? value : undefined;
}
