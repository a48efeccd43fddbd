import { readFile } from "node:fs/promises";
import { isIP } from "node:net";
import type { zone } from "@zone/proto";
import type { NetworkFacts } from "../domains/driver.js";
import { isIsolated } from "./main-spec.js";
import { isOutOfReach } from "./network-spec.js";
import type { ZoneSpec } from "./spec.js";

type Dns = zone.agent.v1.Dns.$Properties;

const MAX_NAMESERVERS = 3;
const MAX_WORDS = 32;
const MAX_FILE_BYTES = 64 * 1024;

/** What resolv.conf(5) of a host says. */
export interface HostDns {
  nameservers: string[];
  searches: string[];
  options: string[];
}

/** Reads a resolv.conf(5); without the file there are no name servers. */
export async function readHostDns(path: string): Promise<HostDns> {
  const text = await readFile(path, "utf8").catch(() => "");
  return parseResolvConf(text.slice(0, MAX_FILE_BYTES));
}

/** The last "search" or "domain" wins, all else adds up; what is not understood is left out. */
export function parseResolvConf(text: string): HostDns {
  const dns: HostDns = { nameservers: [], searches: [], options: [] };
  for (const line of text.split("\n")) {
    const [keyword, ...words] = line.trim().split(/\s+/);
    const [first = ""] = words;
    // An address with a scope ("fe80::1%eth0") is of a link that the zone does not have.
    if (keyword === "nameserver" && isIP(first) && !first.includes("%")) dns.nameservers.push(first);
    else if (keyword === "search" || keyword === "domain") dns.searches = words.slice(0, MAX_WORDS);
    else if (keyword === "options") dns.options = [...dns.options, ...words].slice(0, MAX_WORDS);
  }
  return dns;
}

/**
 * The names of a zone: what was asked for, else the host's, else the forwarder at the zone's gateway. A resolver on the host's
 * loopback (systemd-resolved's 127.0.0.53) or link (a cloud's 169.254.169.253) can only be asked through the forwarder.
 */
export function zoneDns(spec: ZoneSpec, facts: NetworkFacts | undefined, host: HostDns): Dns | undefined {
  const asked = spec.network ?? {};
  if (isIsolated(spec) || !facts) {
    return asked.nameservers?.length ? dnsOf(asked) : undefined;
  }
  const viaForwarder = host.nameservers.length === 0 || host.nameservers.some(isOutOfReach);
  const defaults = viaForwarder ? facts.nameservers : host.nameservers;
  return dnsOf({
    nameservers: asked.nameservers?.length ? asked.nameservers : defaults,
    searches: asked.searches?.length ? asked.searches : host.searches,
    options: asked.options?.length ? asked.options : host.options,
  });
}

function dnsOf({ nameservers, searches, options }: Dns): Dns {
  return {
    nameservers: (nameservers ?? []).slice(0, MAX_NAMESERVERS),
    searches: searches ?? [],
    options: options ?? [],
  };
}

/** Everything that a zone's network is configured with, in one call; undefined when there is nothing to say. */
export function networkRequest(
  spec: ZoneSpec,
  facts: NetworkFacts | undefined,
  host: HostDns,
): zone.agent.v1.ConfigureRequest.$Properties | undefined {
  const dns = zoneDns(spec, facts, host);
  if (!facts) return dns && { dns };
  const { hardwareAddress, addresses, mtu, gateways } = facts;
  return {
    links: [{ hardwareAddress, addresses, mtu, waitMs: LINK_WAIT_MS }],
    routes: gateways.map((gateway) => ({ destination: isIP(gateway) === 6 ? "::/0" : "0.0.0.0/0", gateway })),
    ...(dns && { dns }),
  };
}

/** For the kernel to have probed the interface of a zone that has just been cloned. */
const LINK_WAIT_MS = 10_000;
