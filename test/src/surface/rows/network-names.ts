import { expect } from "vitest";
import { type Row, refused, type SurfaceZone, works } from "../row.js";

const RESOLV_CONF = "cat /etc/resolv.conf";
const dns = { nameservers: ["192.0.2.53", "fe80::1%eth0"], searches: ["example.org"], options: ["ndots:3"] };

/** What resolv.conf(5) has for a keyword. */
const words = (text: string, keyword: string): string[] =>
  text.split("\n").flatMap((line) => (line.startsWith(`${keyword} `) ? line.split(" ").slice(1) : []));

/** Runs a case that changes the name servers, in a container without any of its own, and gives the zone back what it had. */
async function restoringDns(zone: SurfaceZone, change: () => Promise<unknown>): Promise<void> {
  const before = await zone.out(RESOLV_CONF);
  try {
    await zone.withContainer({ id: "names" }, async (id) => {
      await change();
      const now = await zone.out(RESOLV_CONF, id);
      const got = {
        nameservers: words(now, "nameserver"),
        searches: words(now, "search"),
        options: words(now, "options"),
      };
      expect(got).toEqual(dns);
    });
  } finally {
    const old = {
      nameservers: words(before, "nameserver"),
      searches: words(before, "search"),
      options: words(before, "options"),
    };
    await zone.bridge.network.setDns({ dns: old }, zone.in());
    expect(await zone.out(RESOLV_CONF)).toBe(before);
  }
}

const names: Row[] = [
  works(
    "Network.SetDns",
    ["SetDnsRequest.dns", "Dns.nameservers", "Dns.searches", "Dns.options"],
    "reaches containers that run",
    (zone) => restoringDns(zone, () => zone.bridge.network.setDns({ dns }, zone.in())),
  ),
  works("Network.Configure", ["ConfigureRequest.dns"], "sets the name servers", (zone) =>
    restoringDns(zone, () => zone.bridge.network.configure({ dns }, zone.in())),
  ),
  ...[
    { field: "nameservers", name: "a name server by name", change: { nameservers: ["dns.example.org"] } },
    { field: "searches", name: "two lines for a domain", change: { searches: ["a\nnameserver 1.1.1.1"] } },
    { field: "options", name: "an option with a space", change: { options: ["a b"] } },
  ].flatMap(({ field, name, change }) => [
    refused("Network.SetDns", ["SetDnsRequest.dns", `Dns.${field}`], "INVALID_DNS", name, (zone) =>
      zone.bridge.network.setDns({ dns: { ...dns, ...change } }, zone.in()),
    ),
    refused("Network.Configure", ["ConfigureRequest.dns"], "INVALID_DNS", name, (zone) =>
      zone.bridge.network.configure({ dns: { ...dns, ...change } }, zone.in()),
    ),
  ]),

  works(
    "Network.SetHosts",
    ["SetHostsRequest.hosts", "HostEntry.address", "HostEntry.names"],
    "reaches containers that run, after their own",
    async (zone) => {
      const before = await zone.out("cat /etc/hosts");
      const hosts = [{ address: "192.0.2.80", names: ["db", "db.example.org"] }];
      try {
        await zone.bridge.network.setHosts({ hosts }, zone.in());
        expect(await zone.out("cat /etc/hosts")).toBe(`${before}\n192.0.2.80\tdb db.example.org`);
      } finally {
        await zone.bridge.network.setHosts({}, zone.in());
      }
      expect(await zone.out("cat /etc/hosts")).toBe(before);
    },
  ),
  refused("Network.SetHosts", ["SetHostsRequest.hosts", "HostEntry.address"], "INVALID_ADDRESS", "no address", (zone) =>
    zone.bridge.network.setHosts({ hosts: [{ names: ["db"] }] }, zone.in()),
  ),
  refused("Network.SetHosts", ["SetHostsRequest.hosts", "HostEntry.names"], "INVALID_HOSTNAME", "no names", (zone) =>
    zone.bridge.network.setHosts({ hosts: [{ address: "192.0.2.80" }] }, zone.in()),
  ),

  works(
    "Network.SetHostname",
    ["SetHostnameRequest.hostname"],
    "names the zone, and not its containers",
    async (zone) => {
      const nameOf = async () => (await zone.bridge.system.info({}, zone.in())).hostname;
      const before = await nameOf();
      await zone.bridge.network.setHostname({ hostname: "other.example.org" }, zone.in());
      try {
        expect(await nameOf()).toBe("other.example.org");
        expect(await zone.out("hostname")).not.toBe("other.example.org");
      } finally {
        await zone.bridge.network.setHostname({ hostname: before }, zone.in());
      }
    },
  ),
  ...["", "two words", "x".repeat(64)].map((hostname) =>
    refused(
      "Network.SetHostname",
      ["SetHostnameRequest.hostname"],
      "INVALID_HOSTNAME",
      `"${hostname.slice(0, 9)}"`,
      (zone) => zone.bridge.network.setHostname({ hostname }, zone.in()),
    ),
  ),
];

const FORWARDING = "net.ipv4.ip_forward";
const sysctls: Row[] = [
  works("Network.GetSysctl", ["GetSysctlRequest.name"], "takes names with dots and with slashes", async (zone) => {
    for (const name of ["kernel.ostype", "kernel/ostype"])
      expect(await zone.bridge.network.getSysctl({ name }, zone.in())).toMatchObject({ value: "Linux" });
  }),
  works(
    "Network.SetSysctl",
    ["SetSysctlRequest.name", "SetSysctlRequest.value"],
    "sets one of the network",
    async (zone) => {
      const get = async () => (await zone.bridge.network.getSysctl({ name: FORWARDING }, zone.in())).value;
      const before = await get();
      const other = before === "0" ? "1" : "0";
      await zone.bridge.network.setSysctl({ name: FORWARDING, value: other }, zone.in());
      try {
        expect(await get()).toBe(other);
      } finally {
        await zone.bridge.network.setSysctl({ name: FORWARDING, value: before }, zone.in());
      }
    },
  ),
  ...(["getSysctl", "setSysctl"] as const).flatMap((method) => {
    const name = method === "getSysctl" ? "GetSysctl" : "SetSysctl";
    return [
      { reason: "INVALID_SYSCTL", what: "a way out of /proc/sys", sysctl: "net/../../self/oom_score_adj" },
      { reason: "SYSCTL_UNKNOWN", what: "one that there is not", sysctl: "net.ipv4.conf.none0.forwarding" },
    ].map(({ reason, what, sysctl }) =>
      refused(`Network.${name}`, [`${name}Request.name`], reason, what, (zone) =>
        zone.bridge.network[method]({ name: sysctl, value: "1" }, zone.in()),
      ),
    );
  }),
  refused(
    "Network.SetSysctl",
    ["SetSysctlRequest.name"],
    "SYSCTL_NOT_ALLOWED",
    "one that could harm the zone",
    (zone) => zone.bridge.network.setSysctl({ name: "kernel.panic", value: "1" }, zone.in()),
  ),
  refused("Network.SetSysctl", ["SetSysctlRequest.value"], "INVALID_SYSCTL", "a value that it cannot have", (zone) =>
    zone.bridge.network.setSysctl({ name: FORWARDING, value: "yes" }, zone.in()),
  ),
];

export const nameRows: Row[] = [...names, ...sysctls];
