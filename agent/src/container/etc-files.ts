import type { ContainerSpec } from "./request.js";

/** The files of /etc that are the agent's and not the image's, by name. */
export function etcFiles(spec: Pick<ContainerSpec, "hostname" | "hosts" | "nameservers">): Record<string, string> {
  const hosts = [
    "127.0.0.1\tlocalhost",
    "::1\tlocalhost ip6-localhost ip6-loopback",
    `127.0.1.1\t${spec.hostname}`,
    ...spec.hosts.map(({ address, names }) => `${address}\t${names.join(" ")}`),
  ];
  return {
    hostname: lines([spec.hostname]),
    hosts: lines(hosts),
    "resolv.conf": lines(spec.nameservers.map((address) => `nameserver ${address}`)),
  };
}

function lines(texts: readonly string[]): string {
  return texts.map((text) => `${text}\n`).join("");
}
