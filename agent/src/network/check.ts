import type { zone } from "@zone/proto";
import { invalid } from "../errors.js";
import { invalidText } from "./errors.js";
import { type IpAddress, type IpPrefix, isNoHost, networkOf, parseAddress, parsePrefix } from "./ip.js";
import { NETWORK_LIMITS } from "./limits.js";
import type { Dns, HostEntry } from "./names.js";

/** A link as a client names it: by either or both. */
export interface LinkName {
  name: string;
  hardwareAddress: Buffer | undefined;
}

export interface LinkWish extends LinkName {
  down: boolean;
  /** 0: left as it is. */
  mtu: number;
  addresses: readonly IpPrefix[];
  waitMs: number;
}

export interface RouteWish {
  destination: IpPrefix;
  gateway: Buffer | undefined;
  link: string;
  metric: number;
  source: Buffer | undefined;
}

/** A Configure, checked. */
export interface Configuration {
  links: readonly LinkWish[];
  routes: readonly RouteWish[];
  dns: Dns | undefined;
}

export function checkConfiguration(request: zone.agent.v1.ConfigureRequest.$Properties): Configuration {
  const { links, routes } = NETWORK_LIMITS;
  return {
    links: bounded("INVALID_LINK", "links", request.links, links).map(checkLink),
    routes: bounded("INVALID_ROUTE", "routes", request.routes, routes).map((route) => checkRoute(route)),
    dns: request.dns ? checkDns(request.dns) : undefined,
  };
}

function checkLink(link: zone.agent.v1.LinkConfig.$Properties): LinkWish {
  const hardwareAddress = link.hardwareAddress ? checkHardwareAddress("INVALID_LINK", link.hardwareAddress) : undefined;
  const name = link.name || !hardwareAddress ? checkLinkName(link.name) : "";
  const waitMs = link.waitMs ?? 0;
  const { linkWaitMs, addresses } = NETWORK_LIMITS;
  if (waitMs > linkWaitMs) {
    throw invalid("INVALID_LINK", `wait_ms is ${waitMs}; at most ${linkWaitMs} are allowed`);
  }
  return {
    ...{ name, hardwareAddress, waitMs },
    down: link.down ?? false,
    mtu: link.mtu ?? 0,
    addresses: bounded("INVALID_ADDRESS", "addresses", link.addresses, addresses).map(checkHostPrefix),
  };
}

/** 1 to 15 bytes without "/", ":" and white space, as the kernel's dev_valid_name() has it; INVALID_LINK. */
export function checkLinkName(field: string | null | undefined): string {
  const name = field ?? "";
  if (/^[!-.0-9;-~]{1,15}$/.test(name) && name !== "." && name !== "..") return name;
  throw invalidText("INVALID_LINK", name, `a link's name of 1 to ${NETWORK_LIMITS.linkNameBytes} ASCII characters`);
}

/** "52:54:00:12:34:56" */
export function checkHardwareAddress(reason: string, text: string): Buffer {
  if (!/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(text)) {
    throw invalidText(reason, text, 'a hardware address such as "52:54:00:12:34:56"');
  }
  return Buffer.from(text.replaceAll(":", ""), "hex");
}

/** A host's address with its prefix: "10.0.2.15/24"; INVALID_ADDRESS. */
export function checkHostPrefix(field: string | null | undefined): IpPrefix {
  const text = field ?? "";
  const prefix = parsePrefix(text);
  if (prefix && prefix.length > 0 && !isNoHost(prefix)) return prefix;
  throw invalidText("INVALID_ADDRESS", text, 'a host\'s address with its prefix, such as "10.0.2.15/24"');
}

/** A host's address; INVALID_ADDRESS or the reason given. */
export function checkHost(reason: string, field: string | null | undefined): IpAddress {
  const text = field ?? "";
  const address = parseAddress(text);
  if (address && !isNoHost(address)) return address;
  throw invalidText(reason, text, "a host's IP address");
}

/** INVALID_ROUTE. One to be removed needs neither a gateway nor a link: what it does not say matches any. */
export function checkRoute(
  route: zone.agent.v1.Route.$Properties | null | undefined,
  { removed = false } = {},
): RouteWish {
  const text = route?.destination ?? "";
  const destination = parsePrefix(text);
  if (!destination) {
    throw invalidText("INVALID_ROUTE", text, 'a destination with its prefix, such as "10.0.0.0/8" or "0.0.0.0/0"');
  }
  if (!networkOf(destination).bytes.equals(destination.bytes)) {
    throw invalid("INVALID_ROUTE", `the destination ${text} has bits beyond its prefix`);
  }
  const ofFamily = (field: string | null | undefined, what: string) => {
    if (!field) return undefined;
    const address = checkHost("INVALID_ROUTE", field);
    if (address.family === destination.family) return address.bytes;
    throw invalid("INVALID_ROUTE", `the ${what} ${field} and the destination ${text} are of different IP versions`);
  };
  const gateway = ofFamily(route?.gateway, "gateway");
  const link = route?.link ? checkLinkName(route.link) : "";
  if (!gateway && link === "" && !removed)
    throw invalid("INVALID_ROUTE", `the route to ${text} has neither a gateway nor a link`);
  return { destination, gateway, link, metric: route?.metric ?? 0, source: ofFamily(route?.source, "source") };
}

/** INVALID_DNS */
export function checkDns(dns: zone.agent.v1.Dns.$Properties | null | undefined): Dns {
  const { nameservers, searches, options, domainBytes, optionBytes } = NETWORK_LIMITS;
  return {
    nameservers: bounded("INVALID_DNS", "name servers", dns?.nameservers, nameservers).map((text) => {
      // resolv.conf(5) takes a scope, for link-local name servers.
      const [address = "", scope] = text.split("%");
      const valid =
        parseAddress(address) !== undefined && (scope === undefined || /^[A-Za-z0-9_.-]{1,15}$/.test(scope));
      if (valid) return text;
      throw invalidText("INVALID_DNS", text, "a name server's IP address");
    }),
    searches: bounded("INVALID_DNS", "search domains", dns?.searches, searches).map((text) => {
      // "." alone is the root: nothing is searched.
      if (text === "." || (/^[A-Za-z0-9_]([A-Za-z0-9_.-]*)$/.test(text) && text.length <= domainBytes)) return text;
      throw invalidText("INVALID_DNS", text, "a domain to search");
    }),
    options: bounded("INVALID_DNS", "options", dns?.options, options).map((text) => {
      if (/^[a-z0-9][a-z0-9:._-]*$/.test(text) && text.length <= optionBytes) return text;
      throw invalidText("INVALID_DNS", text, 'an option of resolv.conf(5), such as "ndots:5"');
    }),
  };
}

/** INVALID_ADDRESS, INVALID_HOSTNAME */
export function checkHosts(fields: readonly zone.agent.v1.HostEntry.$Properties[] | null | undefined): HostEntry[] {
  const { hostEntries, namesPerHost, hostsBytes } = NETWORK_LIMITS;
  const entries = bounded("INVALID_HOSTNAME", "hosts", fields, hostEntries).map((entry) => {
    const address = entry.address ?? "";
    if (!parseAddress(address)) throw invalidText("INVALID_ADDRESS", address, "an IP address");
    const names = bounded("INVALID_HOSTNAME", `names of ${address}`, entry.names, namesPerHost).map(checkHostsName);
    if (names.length === 0) throw invalid("INVALID_HOSTNAME", `the host entry of ${address} has no names`);
    return { address, names };
  });
  const bytes = entries.reduce((sum, { names }) => sum + names.reduce((total, name) => total + name.length + 1, 64), 0);
  if (bytes <= hostsBytes) return entries;
  throw invalid("INVALID_HOSTNAME", `the hosts take ${bytes} bytes; at most ${hostsBytes} are kept`);
}

/** A name of hosts(5): longer than a host's own, and with "_", which names of services have. */
function checkHostsName(name: string): string {
  const { domainBytes } = NETWORK_LIMITS;
  if (/^[A-Za-z0-9_][A-Za-z0-9_.-]*$/.test(name) && name.length <= domainBytes) return name;
  throw invalidText("INVALID_HOSTNAME", name, `a host name of 1 to ${domainBytes} bytes`);
}

function bounded<T>(reason: string, what: string, list: readonly T[] | null | undefined, max: number): readonly T[] {
  if (!list) return [];
  if (list.length <= max) return list;
  throw invalid(reason, `there are ${list.length} ${what}; at most ${max} are taken`);
}
