import { invalid } from "../errors.js";
import { LIMITS } from "../limits.js";

/** Letters, digits, "-" and "." as in hostname(7), 1 to 63 bytes; INVALID_HOSTNAME. */
export function checkHostname(name: string): string {
  if (/^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$/.test(name) && name.length <= LIMITS.hostnameBytes) return name;
  const shown = name.slice(0, LIMITS.hostnameBytes);
  throw invalid("INVALID_HOSTNAME", `"${shown}" is not a host name of 1 to ${LIMITS.hostnameBytes} bytes`);
}
