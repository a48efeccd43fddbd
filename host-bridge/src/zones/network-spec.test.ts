import { bridge } from "@zone/proto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseResolvConf, zoneDns } from "./name-servers.js";
import { checkExtraHosts, checkNetwork, checkPorts, type NetworkSpec, type PortMapping } from "./network-spec.js";
import { checkPortRights } from "./ports.js";

const { MODE_NONE } = bridge.Network.Mode;

describe("checkPorts", () => {
  const refused: [string, PortMapping[], string][] = [
    ["no target", [{ hostPort: 80 }], "one target"],
    ["two targets", [{ zonePort: 80, zonePath: "/s" }], "one target"],
    ["a port beyond 65535", [{ zonePort: 65_536 }], "65536"],
    ["a host port beyond 65535", [{ hostPort: 70_000, zonePort: 80 }], "70000"],
    ["a name for an address", [{ hostAddress: "localhost", zonePort: 80 }], "localhost"],
    ["a port and a path of the host", [{ hostPath: "/s", hostPort: 1, zonePort: 80 }], "not both"],
    ["a relative path", [{ hostPath: "s", zonePort: 80 }], "absolute"],
    ["a path that no socket can have", [{ zonePath: `/${"s".repeat(200)}` }], "107"],
    [
      "one host port twice",
      [
        { hostPort: 8080, zonePort: 1 },
        { hostAddress: "127.0.0.1", hostPort: 8080, zonePort: 2 },
      ],
      "twice",
    ],
    ["129 ports", Array.from({ length: 129 }, () => ({ zonePort: 80 })), "128"],
  ];
  it.each(refused)("refuses %s", (_, ports, named) => {
    const message = expect.stringContaining(named);
    expect(() => checkPorts(ports)).toThrow(expect.objectContaining({ reason: "INVALID_PORT", message }));
  });

  it("publishes at the loopback unless told otherwise, at any free port as often as asked", () => {
    const ports = [{ zonePort: 80 }, { zonePort: 80 }, { hostAddress: "::", hostPort: 1, zonePath: "/s" }];
    expect(checkPorts(ports).map(({ hostAddress }) => hostAddress)).toEqual(["127.0.0.1", "127.0.0.1", "::"]);
    expect(checkPorts([{ hostPath: "/run/x", zonePort: 1 }])).toEqual([{ hostPath: "/run/x", zonePort: 1 }]);
  });

  it.each([{ hostPath: "/run/x" }, { hostPort: 80 }])("lets only root publish at %o", (at) => {
    const ports = [{ ...at, zonePort: 1 }];
    expect(() => checkPortRights(ports, { admin: false })).toThrow(
      expect.objectContaining({ reason: "SOURCE_DENIED" }),
    );
    checkPortRights(ports, { admin: true });
    checkPortRights([{ hostPort: 8080, zonePort: 1 }, { zonePort: 1 }], { admin: false });
  });
});

describe("checkNetwork", () => {
  const refused: [string, NetworkSpec, string][] = [
    ["a mode that is none", { mode: 9 as never }, "9"],
    ["a name for a name server", { nameservers: ["dns.example"] }, "dns.example"],
    ["the zone's loopback", { nameservers: ["127.0.0.53"] }, "the zone itself"],
    ["this host", { nameservers: ["0.0.0.0"] }, "the zone itself"],
    ["a mapped loopback", { nameservers: ["::ffff:127.0.0.1"] }, "the zone itself"],
    ["a cloud's resolver", { nameservers: ["169.254.169.253"] }, "link-local"],
    ["a link's router", { nameservers: ["fe80::1%eth0"] }, "link-local"],
    ["a cloud's metadata service", { nameservers: ["fd00:0ec2::254"] }, "metadata"],
    ["four name servers", { nameservers: ["1.1.1.1", "1.1.1.2", "1.1.1.3", "1.1.1.4"] }, "3"],
    ["a search domain with a space", { searches: ["a b"] }, "a b"],
    ["an option with a newline", { options: ["ndots:1\nnameserver 6.6.6.6"] }, "ndots"],
  ];
  it.each(refused)("refuses %s", (_, network, named) => {
    const message = expect.stringContaining(named);
    expect(() => checkNetwork(network)).toThrow(expect.objectContaining({ reason: "INVALID_NETWORK", message }));
  });

  it.each(["db", "db:", ":10.0.0.1", "db:10.0.0", "a b:10.0.0.1", "db:host-gateway"])(
    "refuses the host %s",
    (entry) => {
      expect(() => checkExtraHosts([entry])).toThrow(expect.objectContaining({ reason: "INVALID_NETWORK" }));
    },
  );
  it("takes hosts as Docker does", () => checkExtraHosts(["db:10.0.0.1", "db=10.0.0.1", "v6:fd00::1", "v6:[fd00::1]"]));
});

describe("the names of a zone", () => {
  const facts = { hardwareAddress: "", addresses: [], gateways: [], mtu: 1500, nameservers: ["10.0.2.3"] };
  const host = { nameservers: ["9.9.9.9"], searches: ["lan"], options: ["ndots:2"] };

  it("are the host's", () => expect(zoneDns({}, facts, host)).toEqual(host));
  it("are asked of the forwarder when the host asks its own loopback", () => {
    const local = { ...host, nameservers: ["127.0.0.53"] };
    expect(zoneDns({}, facts, local)).toEqual({ ...host, nameservers: ["10.0.2.3"] });
    expect(zoneDns({}, facts, { ...host, nameservers: [] })?.nameservers).toEqual(["10.0.2.3"]);
  });
  const unreachable = ["127.0.0.1", "0.0.0.0", "169.254.169.253", "::1", "::", "fe80::1", "fd00:ec2::254"];
  it.each(unreachable)("are asked of the forwarder when the host asks %s, where no zone gets", (server) => {
    const asked = zoneDns({}, facts, { ...host, nameservers: ["9.9.9.9", server] });
    expect(asked?.nameservers).toEqual(["10.0.2.3"]);
  });
  it.each(["10.0.0.2", "169.253.0.1", "128.0.0.1", "fd00:ec2::253", "fec0::1", "2606:4700::1111"])(
    "are the host's %s",
    (server) => {
      expect(zoneDns({}, facts, { ...host, nameservers: [server] })?.nameservers).toEqual([server]);
      expect(checkNetwork({ nameservers: [server] }).nameservers).toEqual([server]);
    },
  );
  it("are what was asked for", () => {
    const network = { nameservers: ["8.8.8.8"], searches: ["a.example"] };
    expect(zoneDns({ network }, facts, host)).toEqual({ ...host, ...network });
  });
  it("are none without a network, unless asked for", () => {
    expect(zoneDns({ network: { mode: MODE_NONE } }, undefined, host)).toBeUndefined();
    expect(zoneDns({ network: { mode: MODE_NONE, nameservers: ["8.8.8.8"] } }, undefined, host)).toMatchObject({
      nameservers: ["8.8.8.8"],
    });
  });

  it("are read from resolv.conf", () => {
    const text =
      "# local\ndomain old\nsearch a.example b.example\nnameserver 1.1.1.1\nnameserver fe80::1%eth0\nnameserver x\noptions ndots:2 edns0\n";
    expect(parseResolvConf(text)).toEqual({
      nameservers: ["1.1.1.1"],
      searches: ["a.example", "b.example"],
      options: ["ndots:2", "edns0"],
    });
  });
  it("are read from anything", () => {
    fc.assert(fc.property(fc.string(), (text) => parseResolvConf(text).nameservers.length >= 0));
  });
});
