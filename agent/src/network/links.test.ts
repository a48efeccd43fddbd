import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { failureOf, OwnNetwork } from "./testing/own-network.js";

let net: OwnNetwork;

beforeAll(async () => {
  net = await OwnNetwork.start({ ZONE_RAISE_LOOPBACK: "1" });
});
afterAll(async () => {
  await net.agent.stop();
});
beforeEach(() => net.addPair("eth0", "far", "52:54:00:12:34:56"));
afterEach(() => void net.ip("link", "del", "far"));

const rpc = () => net.agent.network;

describe("links", () => {
  it("are listed with what they have; the loopback was brought up", async () => {
    net.ip("link", "set", "eth0", "up", "mtu", "1400");
    net.ip("addr", "add", "10.7.0.2/24", "dev", "eth0");
    await expect(net.link("lo")).resolves.toMatchObject({
      ...{ up: true, running: true, loopback: true },
      addresses: ["127.0.0.1/8", "::1/128"],
    });
    await expect(net.link("eth0")).resolves.toMatchObject({
      ...{ hardwareAddress: "52:54:00:12:34:56", mtu: 1400, up: true, running: true, loopback: false },
      addresses: expect.arrayContaining(["10.7.0.2/24"]),
    });
    net.run("busybox", "ping", "-c", "2", "-i", "0.01", "127.0.0.1");
    expect((await net.link("lo")).receivedPackets).toBeGreaterThanOrEqual(4);
    expect((await net.link("lo")).sentBytes).toBeGreaterThan(100);
  });

  it("change their state, MTU, name and hardware address, and keep their addresses and routes", async () => {
    await rpc().updateLink({ name: "eth0", up: true, mtu: 1300 });
    await rpc().addAddress({ link: "eth0", address: "10.7.0.2/24" });
    await rpc().addAddress({ link: "eth0", address: "fd07::2/64" });
    await rpc().addRoute({ route: { destination: "0.0.0.0/0", gateway: "10.7.0.1" } });
    const { link } = await rpc().updateLink({ name: "eth0", newName: "wan", hardwareAddress: "52:54:00:00:00:01" });
    expect(link).toMatchObject({ name: "wan", hardwareAddress: "52:54:00:00:00:01", up: true, mtu: 1300 });
    expect(await net.addresses("wan")).toEqual(["10.7.0.2/24", "fd07::2/64"]);
    expect(await net.routes()).toEqual(["0.0.0.0/0 via 10.7.0.1 dev wan"]);
    await expect(rpc().updateLink({ name: "wan", newName: "wan", up: false })).resolves.toMatchObject({
      link: { up: false },
    });
  });

  it.each([
    ["LINK_UNKNOWN", { name: "none" }],
    ["INVALID_LINK", {}],
    ["INVALID_LINK", { name: "a name" }],
    ["INVALID_LINK", { name: "sixteen-bytes-xy" }],
    ["INVALID_LINK", { name: "eth0", newName: "a/b" }],
    ["INVALID_LINK", { name: "eth0", newName: "far" }],
    ["INVALID_LINK", { name: "eth0", hardwareAddress: "52:54:00" }],
    ["INVALID_LINK", { name: "eth0", mtu: 20 }],
    ["INVALID_LINK", { name: "eth0", mtu: 4_000_000 }],
    ["NETLINK_FAILED", { name: "eth0", up: true, mtu: 1300, hardwareAddress: "01:00:00:00:00:01" }],
  ])("%s: %j, and nothing changes", async (reason, request) => {
    const before = net.state();
    expect(await failureOf(rpc().updateLink(request))).toMatchObject({ reason });
    expect(net.state()).toBe(before);
  });
});

describe("addresses", () => {
  it("are added and removed, and it does not matter when they are there or gone already", async () => {
    for (const address of ["10.7.0.2/24", "fd07::2/64", "10.7.0.3/32"]) {
      for (let twice = 0; twice < 2; twice++) await rpc().addAddress({ link: "eth0", address });
    }
    expect(await net.addresses("eth0")).toEqual(["10.7.0.2/24", "10.7.0.3/32", "fd07::2/64"]);
    expect(net.ip("addr", "show", "eth0")).toContain("brd 10.7.0.255");
    for (const address of ["10.7.0.2/24", "fd07::2/64"]) {
      for (let twice = 0; twice < 2; twice++) await rpc().removeAddress({ link: "eth0", address });
    }
    expect(await net.addresses("eth0")).toEqual(["10.7.0.3/32"]);
  });

  it("of IPv6 can be used at once", async () => {
    await rpc().updateLink({ name: "eth0", up: true });
    await rpc().addAddress({ link: "eth0", address: "fd07::2/64" });
    expect(net.ip("-6", "addr", "show", "eth0")).not.toMatch(/fd07::2.*tentative/);
  });

  it("of IPv6 are there once: another prefix is refused", async () => {
    await rpc().addAddress({ link: "eth0", address: "fd07::2/64" });
    const failure = await failureOf(rpc().addAddress({ link: "eth0", address: "fd07::2/48" }));
    expect(failure).toMatchObject({ code: "INTERNAL", reason: "NETLINK_FAILED", metadata: { errno: "EEXIST" } });
  });

  it.each([
    ["LINK_UNKNOWN", { link: "none", address: "10.0.0.1/8" }],
    ["INVALID_LINK", { link: "", address: "10.0.0.1/8" }],
    ["INVALID_ADDRESS", { link: "eth0", address: "10.0.0.1" }],
    ["INVALID_ADDRESS", { link: "eth0", address: "10.0.0.1/33" }],
    ["INVALID_ADDRESS", { link: "eth0", address: "0.0.0.0/8" }],
    ["INVALID_ADDRESS", { link: "eth0", address: "224.0.0.1/8" }],
    ["INVALID_ADDRESS", { link: "eth0", address: "fe80::1%eth0/64" }],
    ["INVALID_ADDRESS", { link: "eth0", address: "" }],
  ])("%s: %j", async (reason, request) => {
    expect(await failureOf(rpc().addAddress(request))).toMatchObject({ reason });
    expect(await failureOf(rpc().removeAddress(request))).toMatchObject({ reason });
  });
});

describe("routes", () => {
  beforeEach(async () => {
    await rpc().updateLink({ name: "eth0", up: true });
    await rpc().addAddress({ link: "eth0", address: "10.7.0.2/24" });
    await rpc().addAddress({ link: "eth0", address: "fd07::2/64" });
  });

  it("are added, listed and removed, twice or once", async () => {
    const routes = [
      { destination: "0.0.0.0/0", gateway: "10.7.0.1", link: "", metric: 0, source: "10.7.0.2" },
      { destination: "10.8.0.0/16", gateway: "10.7.0.9", link: "eth0", metric: 5, source: "" },
      { destination: "10.9.0.0/16", gateway: "", link: "eth0", metric: 77, source: "" },
      { destination: "::/0", gateway: "fd07::1", link: "eth0", metric: 0, source: "" },
    ];
    for (const route of [...routes, ...routes]) await rpc().addRoute({ route });
    expect(await net.routes()).toEqual([
      "0.0.0.0/0 via 10.7.0.1 dev eth0 src 10.7.0.2",
      "10.8.0.0/16 via 10.7.0.9 dev eth0 metric 5",
      "10.9.0.0/16 dev eth0 metric 77",
      "::/0 via fd07::1 dev eth0 metric 1024",
    ]);
    for (const route of [...routes, ...routes]) await rpc().removeRoute({ route });
    expect(await net.routes()).toEqual([]);
  });

  it("over several gateways are listed once for each", async () => {
    net.ip("route", "add", "10.9.0.0/16", "nexthop", "via", "10.7.0.3", "nexthop", "via", "10.7.0.4");
    expect(await net.routes()).toEqual(["10.9.0.0/16 via 10.7.0.3 dev eth0", "10.9.0.0/16 via 10.7.0.4 dev eth0"]);
  });

  it("with the same destination and metric exclude each other", async () => {
    await rpc().addRoute({ route: { destination: "0.0.0.0/0", gateway: "10.7.0.1" } });
    const failure = await failureOf(rpc().addRoute({ route: { destination: "0.0.0.0/0", gateway: "10.7.0.8" } }));
    expect(failure).toMatchObject({ reason: "NETLINK_FAILED", metadata: { errno: "EEXIST" } });
    expect(failure.metadata.operation).toContain("0.0.0.0/0 through 10.7.0.8");
  });

  it.each([
    ["NETWORK_UNREACHABLE", { destination: "0.0.0.0/0", gateway: "192.0.2.1" }],
    ["LINK_UNKNOWN", { destination: "10.0.0.0/8", link: "none" }],
    ["INVALID_ROUTE", { destination: "10.0.0.0/8" }],
    ["INVALID_ROUTE", { destination: "10.0.0.0", link: "eth0" }],
    ["INVALID_ROUTE", { destination: "10.0.0.1/8", link: "eth0" }],
    ["INVALID_ROUTE", { destination: "::/0", gateway: "10.7.0.1" }],
    ["INVALID_ROUTE", { destination: "10.0.0.0/8", link: "eth0", source: "fd07::2" }],
    ["INVALID_ROUTE", { destination: "10.0.0.0/8", gateway: "nobody" }],
    ["INVALID_ROUTE", {}],
  ])("%s: %j", async (reason, route) => {
    expect(await failureOf(rpc().addRoute({ route }))).toMatchObject({ reason });
  });

  it("on a link that is down are unreachable", async () => {
    await rpc().updateLink({ name: "eth0", up: false });
    const failure = await failureOf(rpc().addRoute({ route: { destination: "10.0.0.0/8", link: "eth0" } }));
    expect(failure).toMatchObject({ code: "FAILED_PRECONDITION", reason: "NETWORK_UNREACHABLE" });
  });

  it("say in the kernel's words what it did not like", async () => {
    const route = { destination: "10.0.0.0/8", link: "eth0", source: "10.99.99.99" };
    const failure = await failureOf(rpc().addRoute({ route }));
    expect(failure).toMatchObject({ reason: "NETLINK_FAILED", metadata: { errno: "EINVAL" } });
    expect(failure.message).toMatch(/prefsrc|preferred source/i);
  });
});

describe("neighbours", () => {
  it("are added, listed and removed, twice or once", async () => {
    await rpc().updateLink({ name: "eth0", up: true });
    const entries = [
      { link: "eth0", address: "10.7.0.9", hardwareAddress: "52:54:00:00:00:09" },
      { link: "eth0", address: "fd07::9", hardwareAddress: "52:54:00:00:00:0a" },
    ];
    for (const neighbour of [...entries, ...entries]) await rpc().addNeighbour({ neighbour });
    const listed = (await rpc().listNeighbours({})).neighbours;
    for (const entry of entries)
      expect(listed).toContainEqual(expect.objectContaining({ ...entry, state: "permanent" }));
    for (const neighbour of [...entries, ...entries]) await rpc().removeNeighbour({ neighbour });
    const left = (await rpc().listNeighbours({})).neighbours ?? [];
    expect(left.filter(({ state }) => state === "permanent")).toEqual([]);
  });

  it.each([
    ["LINK_UNKNOWN", { link: "none", address: "10.7.0.9", hardwareAddress: "52:54:00:00:00:09" }],
    ["INVALID_ADDRESS", { link: "eth0", address: "10.7.0.9/24", hardwareAddress: "52:54:00:00:00:09" }],
    ["INVALID_ADDRESS", { link: "eth0", address: "10.7.0.9", hardwareAddress: "52" }],
    ["INVALID_LINK", { link: "", address: "10.7.0.9", hardwareAddress: "52:54:00:00:00:09" }],
  ])("%s: %j", async (reason, neighbour) => {
    expect(await failureOf(rpc().addNeighbour({ neighbour }))).toMatchObject({ reason });
  });
});
