import { BlockList, isIP } from "node:net";
import { bridge, type zone } from "@zone/proto";
import { checkCount, invalid, quote } from "./spec-error.js";

export type PortMapping = zone.bridge.v1.PortMapping.$Properties;
export type NetworkSpec = zone.bridge.v1.Network.$Properties;

const MAX_PORTS = 128;
const MAX_PORT = 65_535;
/** A Unix socket's path, with its NUL, fits in 108 bytes; unix(7). */
const MAX_SOCKET_PATH = 107;
/** resolv.conf(5): MAXNS, and the sane end of the others. */
const MAX_NAMESERVERS = 3;
const MAX_SEARCHES = 32;
const MAX_HOSTS = 128;
const DOMAIN_PATTERN = /^\.$|^[a-zA-Z0-9_]([a-zA-Z0-9_.-]{0,252})$/;
const OPTION_PATTERN = /^[a-z0-9][a-z0-9:-]{0,62}$/;
const HOST_PATTERN = /^[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,252}$/;
const CONTROL_CHARACTERS = /\p{Cc}/u;
const DEFAULT_HOST_ADDRESS = "127.0.0.1";

/** Checks ports and fills in the address; INVALID_PORT. */
export function checkPorts(ports: readonly PortMapping[]): PortMapping[] {
  checkCount("INVALID_PORT", "published ports", ports, MAX_PORTS);
  const taken = new Set<string>();
  return ports.map((port) => {
    const { hostAddress, hostPort, hostPath, zonePort, zonePath } = port;
    if (zonePath ? zonePort : !zonePort) {
      throw invalid("INVALID_PORT", "a published port needs one target: a port of the zone, or a socket's path in it");
    }
    for (const number of [hostPort ?? 0, zonePort ?? 0]) {
      if (number > MAX_PORT) throw invalid("INVALID_PORT", `${number} cannot be a port: they go from 1 to ${MAX_PORT}`);
    }
    if (hostPath && (hostPort || hostAddress)) {
      const message = `publish at ${quote(hostPath)} or at a port of the host, not both at once`;
      throw invalid("INVALID_PORT", message);
    }
    for (const path of [hostPath, zonePath]) if (path) checkSocketPath(path);
    if (hostAddress && !isIP(hostAddress)) {
      const message = `${quote(hostAddress)} cannot be published at: give an address of the host such as 127.0.0.1, or 0.0.0.0 for all`;
      throw invalid("INVALID_PORT", message);
    }
    const checked = hostPath ? port : { ...port, hostAddress: hostAddress || DEFAULT_HOST_ADDRESS };
    const name = hostPath || (hostPort ? `${checked.hostAddress}:${hostPort}` : undefined);
    if (name !== undefined && taken.has(name)) throw invalid("INVALID_PORT", `${name} is published twice`);
    if (name !== undefined) taken.add(name);
    return checked;
  });
}

function checkSocketPath(path: string): void {
  if (!path.startsWith("/") || CONTROL_CHARACTERS.test(path) || Buffer.byteLength(path) > MAX_SOCKET_PATH) {
    const rule = `give an absolute path of at most ${MAX_SOCKET_PATH} bytes`;
    throw invalid("INVALID_PORT", `${quote(path)} cannot be a socket's path: ${rule}`);
  }
}

/** Checks a network and fills in its mode; INVALID_NETWORK. */
export function checkNetwork(network: NetworkSpec | null | undefined): NetworkSpec {
  const { nameservers = [], searches = [], options = [] } = network ?? {};
  const { MODE_NONE, MODE_USER } = bridge.Network.Mode;
  const mode = network?.mode || MODE_USER;
  if (mode !== MODE_USER && mode !== MODE_NONE) {
    throw invalid("INVALID_NETWORK", `${mode} is no mode of a network: give NONE or USER`);
  }
  checkCount("INVALID_NETWORK", "name servers", nameservers, MAX_NAMESERVERS);
  checkCount("INVALID_NETWORK", "DNS search domains", searches, MAX_SEARCHES);
  checkCount("INVALID_NETWORK", "DNS options", options, MAX_SEARCHES);
  for (const server of nameservers ?? []) {
    if (!isIP(server)) throw invalid("INVALID_NETWORK", `${quote(server)} is no name server: give its address`);
    if (isOutOfReach(server)) {
      const why = isIn(LOOPBACK, server)
        ? "in the zone it is the zone itself"
        : "nothing of a zone's reaches link-local and multicast addresses, nor a cloud's metadata service";
      const instead = "without a name server of its own it asks the host's, by way of the bridge where it must";
      throw invalid("INVALID_NETWORK", `${server} cannot be a zone's name server: ${why}; ${instead}`);
    }
  }
  for (const domain of searches ?? []) {
    if (!DOMAIN_PATTERN.test(domain)) throw invalid("INVALID_NETWORK", `${quote(domain)} is no DNS search domain`);
  }
  for (const option of options ?? []) {
    if (!OPTION_PATTERN.test(option)) {
      throw invalid("INVALID_NETWORK", `${quote(option)} is no DNS option: resolv.conf(5) lists them, such as ndots:2`);
    }
  }
  return { mode, nameservers, searches, options };
}

/** ::/64 holds ::, ::1 and mapped IPv4 addresses. */
const LOOPBACK = subnets(["0.0.0.0", 8], ["127.0.0.0", 8], ["::", 64]);
/** What native/c/host/frame-filter.c drops beside it. fd00:ec2::254 is what 169.254.169.254 is in IPv4. */
const DROPPED = subnets(["169.254.0.0", 16], ["224.0.0.0", 3], ["fe80::", 10], ["ff00::", 8], ["fd00:ec2::254", 128]);

/** Whether a zone cannot send anything to an address: what the host reaches there, it cannot. */
export function isOutOfReach(address: string): boolean {
  return isIn(LOOPBACK, address) || isIn(DROPPED, address);
}

/** One list for each family: a BlockList takes an IPv4 address for a mapped one too, which ::/64 holds. */
type Subnets = Record<"ipv4" | "ipv6", BlockList>;

function isIn(subnets: Subnets, address: string): boolean {
  const [plain = ""] = address.split("%"); // without its scope
  const family = familyOf(plain);
  return subnets[family].check(plain, family);
}

function subnets(...all: [address: string, prefix: number][]): Subnets {
  const lists = { ipv4: new BlockList(), ipv6: new BlockList() };
  for (const [address, prefix] of all) lists[familyOf(address)].addSubnet(address, prefix, familyOf(address));
  return lists;
}

function familyOf(address: string): "ipv4" | "ipv6" {
  return isIP(address) === 6 ? "ipv6" : "ipv4";
}

/** The parts of "host:address" (or Docker's newer "host=address"); INVALID_NETWORK. */
export function parseExtraHost(entry: string): { name: string; address: string } {
  const [, name = "", address = ""] = /^([^:=]*)[:=](.*)$/s.exec(entry) ?? [];
  const plain = address.replace(/^\[(.*)\]$/, "$1");
  if (!HOST_PATTERN.test(name) || !isIP(plain)) {
    const why =
      plain === "host-gateway" ? "a zone has no address of its host's" : "give HOST:ADDRESS, such as db:10.0.0.5";
    throw invalid("INVALID_NETWORK", `${quote(entry)} cannot be added to /etc/hosts: ${why}`);
  }
  return { name, address: plain };
}

/** INVALID_NETWORK unless all of these are "host:address". */
export function checkExtraHosts(entries: readonly string[]): void {
  checkCount("INVALID_NETWORK", "extra hosts", entries, MAX_HOSTS);
  for (const entry of entries) parseExtraHost(entry);
}
