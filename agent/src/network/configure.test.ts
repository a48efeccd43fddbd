import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { failureOf, OwnNetwork, until } from "./testing/own-network.js";

/** What a bridge asks for, docs/network.md. */
const HARDWARE_ADDRESS = "52:54:00:12:34:56";
const CONFIGURATION = {
  links: [{ hardwareAddress: HARDWARE_ADDRESS, mtu: 1400, addresses: ["10.0.2.15/24", "fd00:7a6f:6e65::15/64"] }],
  routes: [
    { destination: "0.0.0.0/0", gateway: "10.0.2.2" },
    { destination: "::/0", gateway: "fd00:7a6f:6e65::2" },
  ],
};
const ROUTES = ["0.0.0.0/0 via 10.0.2.2 dev eth0", "::/0 via fd00:7a6f:6e65::2 dev eth0 metric 1024"];

let net: OwnNetwork;

beforeAll(async () => {
  net = await OwnNetwork.start();
});
afterAll(async () => {
  await net.agent.stop();
});
beforeEach(() => net.addPair("eth0", "far", HARDWARE_ADDRESS));
afterEach(() => void net.ip("link", "del", "far"));

const rpc = () => net.agent.network;

describe("Configure", () => {
  it("brings a link that was found by its hardware address to what is asked for, and does nothing the second time", async () => {
    await rpc().configure(CONFIGURATION);
    await expect(net.link("eth0")).resolves.toMatchObject({ up: true, mtu: 1400 });
    expect(await net.addresses("eth0")).toEqual(["10.0.2.15/24", "fd00:7a6f:6e65::15/64"]);
    expect(await net.routes()).toEqual(ROUTES);
    const before = net.state();
    await rpc().configure(CONFIGURATION);
    expect(net.state()).toBe(before);
  });

  it("removes the addresses and routes that are not asked for, of the named links only", async () => {
    net.addPair("eth1", "far1");
    net.ip("addr", "add", "10.3.0.1/24", "dev", "eth1");
    net.ip("link", "set", "eth1", "up");
    net.ip("route", "add", "10.4.0.0/16", "via", "10.3.0.2");
    await rpc().configure(CONFIGURATION);
    await rpc().configure({
      links: [{ name: "eth0", addresses: ["10.0.2.16/24"] }],
      routes: [{ destination: "10.5.0.0/16", gateway: "10.0.2.3", metric: 7 }],
    });
    await expect(net.link("eth0")).resolves.toMatchObject({ mtu: 1400 });
    expect(await net.addresses("eth0")).toEqual(["10.0.2.16/24"]);
    expect(await net.routes()).toEqual([
      "10.4.0.0/16 via 10.3.0.2 dev eth1",
      "10.5.0.0/16 via 10.0.2.3 dev eth0 metric 7",
    ]);
    net.ip("link", "del", "far1");
  });

  it("keeps a second address of a network whose first it removes, and gives an IPv6 address another prefix", async () => {
    await rpc().configure({ links: [{ name: "eth0", addresses: ["10.0.2.15/24", "10.0.2.16/24", "fd00::1/64"] }] });
    await rpc().configure({ links: [{ name: "eth0", addresses: ["10.0.2.16/24", "fd00::1/48"] }] });
    expect(await net.addresses("eth0")).toEqual(["10.0.2.16/24", "fd00::1/48"]);
  });

  it("takes a link down", async () => {
    await rpc().configure(CONFIGURATION);
    await rpc().configure({ links: [{ name: "eth0", down: true }] });
    await expect(net.link("eth0")).resolves.toMatchObject({ up: false });
    expect(await net.addresses("eth0")).toEqual([]);
  });

  it("leaves the loopback its own addresses", async () => {
    await rpc().configure({ links: [{ name: "lo", addresses: ["10.9.9.9/32"] }] });
    expect(await net.addresses("lo")).toEqual(["10.9.9.9/32", "127.0.0.1/8", "::1/128"]);
    await rpc().configure({ links: [{ name: "lo" }] });
    expect(await net.addresses("lo")).toEqual(["127.0.0.1/8", "::1/128"]);
  });

  it("waits for a link that is still to come", async () => {
    net.ip("link", "del", "far");
    const done = rpc().configure({
      links: [{ ...CONFIGURATION.links[0], waitMs: 50_000 }],
      routes: CONFIGURATION.routes,
    });
    // Its socket for notifications is open when it waits.
    const groups = () => net.run("cat", `/proc/${net.agent.agentPid}/net/netlink`).split("\n");
    await until(() => groups().some((line) => / 0 +\d+ +0*1 /.test(line)));
    net.addPair("eth7", "far", HARDWARE_ADDRESS);
    await done;
    expect(await net.addresses("eth7")).toEqual(["10.0.2.15/24", "fd00:7a6f:6e65::15/64"]);
  });

  it("gives up waiting, and leaves no descriptor open", async () => {
    const before = net.agent.descriptors("agent");
    const failure = await failureOf(
      rpc().configure({ links: [{ hardwareAddress: "52:54:00:00:00:99", waitMs: 20 }], routes: CONFIGURATION.routes }),
    );
    expect(failure).toMatchObject({ code: "NOT_FOUND", reason: "LINK_UNKNOWN" });
    expect(failure.message).toContain("52:54:00:00:00:99");
    const abort = new AbortController();
    const waiting = rpc().configure({ links: [{ name: "late", waitMs: 100_000 }] }, { signal: abort.signal });
    await rpc().listLinks({});
    abort.abort();
    await failureOf(waiting);
    await until(() => net.agent.descriptors("agent") <= before);
  });

  it.each([
    ["LINK_UNKNOWN", { links: [{ name: "none" }] }],
    ["LINK_UNKNOWN", { links: [{ name: "far", hardwareAddress: HARDWARE_ADDRESS }] }],
    ["INVALID_LINK", { links: [{}] }],
    ["INVALID_LINK", { links: [{ name: "eth0" }, { hardwareAddress: HARDWARE_ADDRESS }] }],
    ["INVALID_LINK", { links: [{ name: "eth0", waitMs: 120_001 }] }],
    ["INVALID_LINK", { links: [{ hardwareAddress: "no" }] }],
    ["INVALID_LINK", { links: [{ name: "eth0", mtu: 10 }] }],
    ["INVALID_ADDRESS", { links: [{ name: "eth0", addresses: ["10.0.2.15"] }] }],
    ["INVALID_ROUTE", { routes: [{ destination: "10.0.0.0/8" }] }],
    ["INVALID_DNS", { dns: { nameservers: ["ns.example"] } }],
    ["INVALID_DNS", { dns: { searches: ["a b"] } }],
    ["INVALID_DNS", { dns: { options: ["ndots:5\nnameserver 1.1.1.1"] } }],
  ])("%s: %j", async (reason, request) => {
    const before = net.state();
    expect(await failureOf(rpc().configure(request))).toMatchObject({ reason });
    expect(net.state()).toBe(before);
  });
});

describe("a Configure that fails leaves all as it was", () => {
  const failing = {
    routes: [
      { destination: "0.0.0.0/0", gateway: "10.0.9.1" },
      { destination: "10.5.0.0/16", gateway: "192.0.2.1" },
    ],
  };

  it("when the link was down and bare", async () => {
    const before = net.state();
    const links = [{ name: "eth0", mtu: 1300, addresses: ["10.0.9.2/24", "fd09::2/64"] }];
    const failure = await failureOf(rpc().configure({ links, ...failing }));
    expect(failure).toMatchObject({ code: "FAILED_PRECONDITION", reason: "NETWORK_UNREACHABLE" });
    expect(net.state()).toBe(before);
  });

  it("when it had addresses and routes", async () => {
    await rpc().configure(CONFIGURATION);
    net.ip("addr", "add", "10.0.2.77/24", "dev", "eth0");
    net.ip("route", "add", "10.6.0.0/16", "metric", "3", "nexthop", "via", "10.0.2.3", "nexthop", "via", "10.0.2.4");
    const before = net.state();
    const links = [{ name: "eth0", mtu: 1300, addresses: ["10.0.9.2/24", "fd00:7a6f:6e65::15/48"] }];
    await failureOf(rpc().configure({ links, ...failing }));
    expect(net.state()).toBe(before);
  });

  it("when it was taken down", async () => {
    await rpc().configure(CONFIGURATION);
    const before = net.state();
    const failure = await failureOf(rpc().configure({ links: [{ name: "eth0", down: true }], ...failing }));
    expect(failure.reason).toBe("NETWORK_UNREACHABLE");
    expect(net.state()).toBe(before);
  });
});
