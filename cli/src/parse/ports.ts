import { isIP } from "node:net";
import type { api } from "../messages.js";
import { UsageError } from "./usage-error.js";

type PortMapping = api.PortMapping.$Properties;

/** `-p [[ADDRESS:]HOST_PORT:]PORT[/tcp]`, with ranges as docker's: "8000-8002:80-82"; an IPv6 address in brackets. */
export function parsePublish(text: string): PortMapping[] {
  const invalid = (why: string) => new UsageError(`invalid port '${text}': ${why}`);
  const [mapping = "", protocol = "tcp", ...more] = text.split("/");
  if (protocol !== "tcp" || more.length > 0) throw invalid("only tcp can be published");
  const match = /^(?:(?:(\[[^\]]*\]|[^:[\]]*):)?([\d-]*):)?([\d-]+)$/.exec(mapping);
  if (!match) throw invalid("give [[ADDRESS:]HOST_PORT:]PORT, such as 8080:80");
  const [, bracketed = "", host = "", zone = ""] = match;
  const hostAddress = bracketed.replace(/^\[(.*)\]$/, "$1");
  if (hostAddress !== "" && isIP(hostAddress) === 0) throw invalid(`'${hostAddress}' is no IP address`);
  const zonePorts = portRange(zone, invalid);
  const hostPorts = host === "" ? zonePorts.map(() => 0) : portRange(host, invalid);
  if (hostPorts.length !== zonePorts.length) throw invalid("both ranges must have the same length");
  return zonePorts.map((zonePort, i) => ({ hostAddress, hostPort: hostPorts[i] ?? 0, zonePort }));
}

/** An argument of port-forward: PORT, LOCAL:PORT, :PORT (any free one), or LOCAL:/a/socket/of/the/zone. */
export function parseForward(text: string, address: string): PortMapping {
  const invalid = (why: string) => new UsageError(`invalid forward '${text}': ${why}`);
  const colon = text.indexOf(":");
  const local = colon < 0 ? text : text.slice(0, colon);
  const remote = colon < 0 ? text : text.slice(colon + 1);
  const from = local.includes("/")
    ? { hostPath: local }
    : { hostAddress: address, hostPort: local === "" ? 0 : port(local, invalid) };
  if (remote.startsWith("/")) return { ...from, zonePath: remote };
  return { ...from, zonePort: port(remote, invalid) };
}

const MAX_RANGE = 1000;

function portRange(text: string, invalid: (why: string) => UsageError): number[] {
  const [from = "", to = from, ...more] = text.split("-");
  const first = port(from, invalid);
  const last = port(to, invalid);
  if (more.length > 0 || last < first || last - first >= MAX_RANGE) throw invalid(`'${text}' is no range of ports`);
  return Array.from({ length: last - first + 1 }, (_, i) => first + i);
}

function port(text: string, invalid: (why: string) => UsageError): number {
  const number = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  if (number >= 1 && number <= 65_535) return number;
  throw invalid(`'${text}' is no port: 1 to 65535`);
}
