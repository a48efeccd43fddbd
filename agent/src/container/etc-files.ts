import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  ftruncateSync,
  openSync,
  readdirSync,
  readFileSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import type { ZoneNames } from "../network/names.js";

/** What a container has asked for its names; of `nameservers`, `dnsSearches` and `dnsOptions` what is empty comes from the zone. */
export interface ContainerNames {
  hostname: string;
  hosts: readonly { address: string; names: readonly string[] }[];
  nameservers: readonly string[];
  dnsSearches?: readonly string[];
  dnsOptions?: readonly string[];
}

/** The zone's part of every container's names. */
export type ZonePart = Pick<ZoneNames, "dns" | "hosts">;

const NO_ZONE: ZonePart = { dns: undefined, hosts: [] };
/** In a container's folder: what it has asked for, so that a restarted agent can still rewrite its files. */
const OWN_FILE = "names.json";

/** The files of /etc that are the agent's and not the image's, by name. */
export function etcFiles(own: ContainerNames, zone: ZonePart = NO_ZONE): Record<string, string> {
  const hosts = [
    "127.0.0.1\tlocalhost",
    "::1\tlocalhost ip6-localhost ip6-loopback",
    `127.0.1.1\t${own.hostname}`,
    ...[...own.hosts, ...zone.hosts].map(({ address, names }) => `${address}\t${names.join(" ")}`),
  ];
  const { dns } = zone;
  return {
    hostname: lines([own.hostname]),
    hosts: lines(hosts),
    "resolv.conf": resolvConf({
      nameservers: chosen(own.nameservers, dns?.nameservers),
      searches: chosen(own.dnsSearches, dns?.searches),
      options: chosen(own.dnsOptions, dns?.options),
    }),
  };
}

function chosen(own: readonly string[] | undefined, zone: readonly string[] | undefined): readonly string[] {
  return own && own.length > 0 ? own : (zone ?? []);
}

/** resolv.conf(5) */
export function resolvConf(dns: NonNullable<ZonePart["dns"]>): string {
  const texts = dns.nameservers.map((address) => `nameserver ${address}`);
  if (dns.searches.length > 0) texts.push(`search ${dns.searches.join(" ")}`);
  if (dns.options.length > 0) texts.push(`options ${dns.options.join(" ")}`);
  return lines(texts);
}

/** Keeps in a container's folder what it has asked for. Before the files themselves: what is kept is rewritten. */
export function keepNames(base: string, own: ContainerNames): void {
  const { hostname, hosts, nameservers, dnsSearches, dnsOptions } = own;
  writeFileSync(join(base, OWN_FILE), JSON.stringify({ hostname, hosts, nameservers, dnsSearches, dnsOptions }));
}

/**
 * Writes BASE/etc/hosts and BASE/etc/resolv.conf of all containers anew, after the zone's names have changed. Goes by their
 * folders, so that one that is being made is not missed. `trouble` is told of each file that could not be written: a full
 * writable layer is no reason to leave out the other containers.
 */
export function rewriteEtcFiles(
  directory: string,
  zone: ZonePart,
  trouble: (path: string, error: unknown) => void,
): void {
  for (const id of existsSync(directory) ? readdirSync(directory) : []) {
    const base = join(directory, id);
    if (!existsSync(join(base, OWN_FILE))) continue;
    const own = JSON.parse(readFileSync(join(base, OWN_FILE), "utf8")) as ContainerNames;
    const files = etcFiles(own, zone);
    for (const name of ["hosts", "resolv.conf"]) {
      const path = join(base, "etc", name);
      try {
        if (existsSync(path)) overwrite(path, files[name] ?? "");
      } catch (error) {
        trouble(path, error);
      }
    }
  }
}

/**
 * Gives the file new contents and lets it be the file that it was: it is what is bind-mounted, a new one in its stead would
 * not be. One write, padded with empty lines to the old length, and then the cut: a reader in between finds neither an empty
 * file, which a resolver takes for "ask 127.0.0.1", nor the new text with the old one's tail.
 */
export function overwrite(path: string, text: string): void {
  const fd = openSync(path, constants.O_WRONLY | constants.O_NOFOLLOW);
  try {
    const bytes = Buffer.from(text);
    const padded = Buffer.alloc(Math.max(bytes.length, fstatSync(fd).size), "\n");
    bytes.copy(padded);
    const written = writeSync(fd, padded, 0, padded.length, 0);
    // A file system that is full takes a part.
    if (written < bytes.length) throw new Error(`${path} took ${written} of ${bytes.length} bytes`);
    ftruncateSync(fd, bytes.length);
  } finally {
    closeSync(fd);
  }
}

function lines(texts: readonly string[]): string {
  return texts.map((text) => `${text}\n`).join("");
}
