import type { zone as messages } from "@zone/proto";
import { expect } from "vitest";
import { configuration, ETH, restoring } from "../network-case.js";
import { type Row, refused, works } from "../row.js";
import { forwardRows } from "./network-forward.js";
import { nameRows } from "./network-names.js";

type LinkConfig = messages.agent.v1.LinkConfig.$Properties;
type Route = messages.agent.v1.Route.$Properties;

function notConfigured(field: string, reason: string, name: string, link: LinkConfig): Row {
  return refused("Network.Configure", ["ConfigureRequest.links", field], reason, name, async (zone) => {
    const before = await configuration(zone);
    const { addresses, routes } = before;
    try {
      await zone.bridge.network.configure({ links: [{ name: ETH, addresses, ...link }], routes }, zone.in());
    } finally {
      expect(await configuration(zone)).toEqual(before);
    }
  });
}

const noRoute = (field: string, reason: string, name: string, route: Route): Row =>
  refused("Network.AddRoute", ["AddRouteRequest.route", `Route.${field}`], reason, name, (zone) =>
    zone.bridge.network.addRoute({ route: { destination: "198.51.100.0/24", link: ETH, ...route } }, zone.in()),
  );

const configure: Row[] = [
  works(
    "Network.Configure",
    [
      ...["ConfigureRequest.links", "ConfigureRequest.routes", "LinkConfig.hardware_address", "LinkConfig.mtu"],
      ...["LinkConfig.addresses", "Route.destination", "Route.gateway", "Route.link", "Route.metric", "Route.source"],
    ],
    "brings a link to exactly what is asked for",
    (zone) =>
      restoring(zone, async ({ hardwareAddress, addresses, routes }) => {
        const made = {
          destination: "198.51.100.0/24",
          gateway: "192.0.2.2",
          link: ETH,
          metric: 7,
          source: "192.0.2.1",
        };
        const wanted = [...addresses.filter((address) => address.includes(":")), "192.0.2.1/24"].sort();
        const kept = routes.filter(({ destination }) => destination?.includes(":"));
        const link = { hardwareAddress, mtu: 1400, addresses: wanted };
        await zone.bridge.network.configure({ links: [link], routes: [...kept, made] }, zone.in());
        const now = await configuration(zone);
        expect(now).toMatchObject({ mtu: 1400, addresses: wanted, up: true });
        expect(now.routes).toMatchObject([made, ...kept]);
        expect(await zone.out(`cat /sys/class/net/${ETH}/mtu`)).toBe("1400");
      }),
  ),
  works("Network.Configure", ["LinkConfig.down", "LinkConfig.name"], "puts a link out of use", (zone) =>
    restoring(zone, async ({ addresses }) => {
      await zone.bridge.network.configure({ links: [{ name: ETH, down: true, addresses }] }, zone.in());
      expect(await configuration(zone)).toMatchObject({ up: false });
    }),
  ),
  works("Network.Configure", ["LinkConfig.wait_ms", "LinkConfig.name"], "waits for a link that comes later", (zone) =>
    restoring(zone, async ({ addresses, routes }) => {
      const later = { name: "later0", addresses, waitMs: 120_000 };
      const there = routes.map((route) => ({ ...route, link: "later0" }));
      const waiting = zone.bridge.network.configure({ links: [later], routes: there }, zone.in());
      try {
        await zone.bridge.network.updateLink({ name: ETH, newName: "later0" }, zone.in());
        await waiting;
      } finally {
        await zone.bridge.network.updateLink({ name: "later0", newName: ETH }, zone.in());
      }
    }),
  ),
  notConfigured("LinkConfig.name", "LINK_UNKNOWN", "a link that is not there", { name: "none0" }),
  notConfigured("LinkConfig.name", "INVALID_LINK", "a name that no link can have", { name: "a/b" }),
  notConfigured("LinkConfig.hardware_address", "INVALID_LINK", "a hardware address that is none", {
    hardwareAddress: "1:2",
  }),
  notConfigured("LinkConfig.hardware_address", "LINK_UNKNOWN", "one that nothing has", {
    hardwareAddress: "02:00:00:00:00:99",
  }),
  notConfigured("LinkConfig.mtu", "INVALID_LINK", "an MTU that the device cannot have", { mtu: 1 }),
  notConfigured("LinkConfig.addresses", "INVALID_ADDRESS", "an address without a prefix", { addresses: ["192.0.2.1"] }),
  notConfigured("LinkConfig.wait_ms", "INVALID_LINK", "a wait of more than two minutes", { waitMs: 120_001 }),
  notConfigured("LinkConfig.wait_ms", "LINK_UNKNOWN", "what does not come in its time", { name: "none0", waitMs: 1 }),
  refused("Network.Configure", ["ConfigureRequest.routes"], "INVALID_ROUTE", "a route of no destination", (zone) =>
    zone.bridge.network.configure({ routes: [{ link: ETH }] }, zone.in()),
  ),
  refused(
    "Network.Configure",
    ["ConfigureRequest.routes", "Route.gateway"],
    "NETWORK_UNREACHABLE",
    "a gateway that is out of reach, and undoes what it had made",
    async (zone) => {
      const before = await configuration(zone);
      const { addresses, routes } = before;
      const link = { name: ETH, addresses: [...addresses, "192.0.2.1/24"], mtu: 1400 };
      const unreachable = { destination: "198.51.100.0/24", gateway: "203.0.113.1" };
      try {
        await zone.bridge.network.configure({ links: [link], routes: [...routes, unreachable] }, zone.in());
      } finally {
        expect(await configuration(zone)).toEqual(before);
      }
    },
  ),
];

const links: Row[] = [
  works("Network.ListLinks", [], "knows the loopback and the device", async (zone) => {
    const { links } = await zone.bridge.network.listLinks({}, zone.in());
    expect(links.find(({ name }) => name === "lo")).toMatchObject({ loopback: true, up: true, mtu: 65_536 });
    const device = links.find(({ name }) => name === ETH);
    expect(device?.hardwareAddress).toBe(await zone.out(`cat /sys/class/net/${ETH}/address`));
  }),
  works(
    "Network.UpdateLink",
    [
      ...["UpdateLinkRequest.name", "UpdateLinkRequest.up", "UpdateLinkRequest.mtu", "UpdateLinkRequest.new_name"],
      "UpdateLinkRequest.hardware_address",
    ],
    "changes a link, which keeps its addresses and routes",
    (zone) =>
      restoring(zone, async (before) => {
        const { hardwareAddress, mtu } = before;
        const other = { newName: "other0", hardwareAddress: "02:00:00:00:00:42", mtu: 1400 };
        const { link } = await zone.bridge.network.updateLink({ name: ETH, ...other }, zone.in());
        expect(link).toMatchObject({ name: "other0", hardwareAddress: other.hardwareAddress, mtu: 1400, up: true });
        await zone.bridge.network.updateLink({ name: "other0", newName: ETH, hardwareAddress, mtu }, zone.in());
        expect(await configuration(zone)).toEqual(before);
        const down = await zone.bridge.network.updateLink({ name: ETH, up: false }, zone.in());
        expect(down.link).toMatchObject({ up: false });
        const up = await zone.bridge.network.updateLink({ name: ETH, up: true }, zone.in());
        expect(up.link).toMatchObject({ up: true });
      }),
  ),
  ...[
    { field: "name", reason: "LINK_UNKNOWN", name: "a link that is not there", request: { name: "none0" } },
    { field: "mtu", reason: "INVALID_LINK", name: "an MTU that is too small", request: { mtu: 1 } },
    { field: "new_name", reason: "INVALID_LINK", name: "a name that no link can have", request: { newName: "a b" } },
    { field: "hardware_address", reason: "INVALID_LINK", name: "no address", request: { hardwareAddress: "zz" } },
  ].map(({ field, reason, name, request }) =>
    refused("Network.UpdateLink", [`UpdateLinkRequest.${field}`], reason, name, (zone) =>
      zone.bridge.network.updateLink({ name: ETH, up: true, ...request }, zone.in()),
    ),
  ),
];

const addresses: Row[] = [
  works(
    "Network.AddAddress",
    [
      "AddAddressRequest.link",
      "AddAddressRequest.address",
      "RemoveAddressRequest.link",
      "RemoveAddressRequest.address",
    ],
    "adds addresses of both kinds, twice as well",
    (zone) =>
      restoring(zone, async (before) => {
        for (const address of ["192.0.2.7/32", "fd00:1::7/64"]) {
          const request = { link: ETH, address };
          for (const _ of [1, 2]) await zone.bridge.network.addAddress(request, zone.in());
          expect((await configuration(zone)).addresses).toContain(address);
          for (const _ of [1, 2]) await zone.bridge.network.removeAddress(request, zone.in());
        }
        expect(await configuration(zone)).toEqual(before);
      }),
  ),
  works(
    "Network.RemoveAddress",
    ["RemoveAddressRequest.link", "RemoveAddressRequest.address"],
    "of what is not there is no error",
    async (zone) => {
      await zone.bridge.network.removeAddress({ link: "lo", address: "192.0.2.9/32" }, zone.in());
    },
  ),
  ...(["addAddress", "removeAddress"] as const).flatMap((method) => {
    const name = method === "addAddress" ? "AddAddress" : "RemoveAddress";
    return [
      { field: "link", reason: "LINK_UNKNOWN", what: "a link that is not there", request: { link: "none0" } },
      { field: "link", reason: "INVALID_LINK", what: "no link", request: { link: "" } },
      { field: "address", reason: "INVALID_ADDRESS", what: "a name", request: { address: "localhost/8" } },
      { field: "address", reason: "INVALID_ADDRESS", what: "no prefix", request: { address: "192.0.2.1" } },
    ].map(({ field, reason, what, request }) =>
      refused(`Network.${name}`, [`${name}Request.${field}`], reason, what, (zone) =>
        zone.bridge.network[method]({ link: ETH, address: "192.0.2.1/32", ...request }, zone.in()),
      ),
    );
  }),
];

const routes: Row[] = [
  works(
    "Network.AddRoute",
    ["AddRouteRequest.route", "RemoveRouteRequest.route", "Route.destination", "Route.link", "Route.metric"],
    "adds routes of both kinds, which ListRoutes lists, and RemoveRoute removes",
    (zone) =>
      restoring(zone, async () => {
        const list = async () => (await zone.bridge.network.listRoutes({}, zone.in())).routes;
        const before = await list();
        for (const destination of ["198.51.100.0/24", "2001:db8::/32"]) {
          const route = { destination, link: "lo", metric: 9 };
          for (const _ of [1, 2]) await zone.bridge.network.addRoute({ route }, zone.in());
          expect(await list()).toContainEqual(expect.objectContaining(route));
          for (const _ of [1, 2]) await zone.bridge.network.removeRoute({ route }, zone.in());
        }
        expect(await list()).toEqual(before);
      }),
  ),
  works("Network.ListRoutes", [], "knows what the kernel made for an address", async (zone) => {
    const { routes } = await zone.bridge.network.listRoutes({}, zone.in());
    const lines = (await zone.out("ip -4 route; ip -6 route")).split("\n");
    // Without ff00::/8, which is not of the main table.
    for (const destination of lines.map((line) => line.split(" ")[0]).filter((first) => first !== "multicast")) {
      const wanted = destination === "default" ? expect.stringMatching(/^(0\.0\.0\.0|::)\/0$/) : destination;
      expect(routes).toContainEqual(expect.objectContaining({ destination: wanted }));
    }
  }),
  works("Network.RemoveRoute", ["RemoveRouteRequest.route"], "of what is not there is no error", async (zone) => {
    await zone.bridge.network.removeRoute({ route: { destination: "198.51.100.0/24", link: "lo" } }, zone.in());
  }),
  noRoute("destination", "INVALID_ROUTE", "a destination without a prefix", { destination: "198.51.100.0" }),
  noRoute("destination", "INVALID_ROUTE", "bits beyond the prefix", { destination: "198.51.100.1/24" }),
  noRoute("gateway", "INVALID_ROUTE", "a gateway of the other IP version", { gateway: "fd00::1" }),
  noRoute("gateway", "NETWORK_UNREACHABLE", "a gateway that is out of reach", { gateway: "203.0.113.1" }),
  noRoute("link", "INVALID_ROUTE", "neither a gateway nor a link", { link: "" }),
  noRoute("link", "LINK_UNKNOWN", "a link that is not there", { link: "none0" }),
  noRoute("source", "INVALID_ROUTE", "a source that is no address", { source: "here" }),
  refused("Network.RemoveRoute", ["RemoveRouteRequest.route"], "INVALID_ROUTE", "no route", (zone) =>
    zone.bridge.network.removeRoute({}, zone.in()),
  ),
];

const neighbour = { link: ETH, address: "10.0.2.99", hardwareAddress: "02:00:00:00:00:99" };
const neighbours: Row[] = [
  works(
    "Network.AddNeighbour",
    [
      ...["AddNeighbourRequest.neighbour", "RemoveNeighbourRequest.neighbour"],
      ...["Neighbour.link", "Neighbour.address", "Neighbour.hardware_address"],
    ],
    "adds one for good, which ListNeighbours lists, and RemoveNeighbour removes",
    async (zone) => {
      const list = async () => (await zone.bridge.network.listNeighbours({}, zone.in())).neighbours;
      await zone.bridge.network.addNeighbour({ neighbour }, zone.in());
      expect(await list()).toContainEqual(expect.objectContaining({ ...neighbour, state: "permanent" }));
      await zone.bridge.network.removeNeighbour({ neighbour }, zone.in());
      expect((await list()).map(({ address }) => address)).not.toContain(neighbour.address);
    },
  ),
  works("Network.ListNeighbours", [], "has none that nobody has looked for", async (zone) => {
    const { neighbours } = await zone.bridge.network.listNeighbours({}, zone.in());
    expect(neighbours.map(({ address }) => address)).not.toContain(neighbour.address);
  }),
  works(
    "Network.RemoveNeighbour",
    ["RemoveNeighbourRequest.neighbour"],
    "of what is not there is no error",
    async (zone) => {
      await zone.bridge.network.removeNeighbour({ neighbour }, zone.in());
    },
  ),
  ...[
    { field: "link", reason: "LINK_UNKNOWN", what: "a link that is not there", change: { link: "none0" } },
    { field: "address", reason: "INVALID_ADDRESS", what: "no address", change: { address: "" } },
  ].flatMap(({ field, reason, what, change }) => [
    refused("Network.AddNeighbour", ["AddNeighbourRequest.neighbour", `Neighbour.${field}`], reason, what, (zone) =>
      zone.bridge.network.addNeighbour({ neighbour: { ...neighbour, ...change } }, zone.in()),
    ),
    refused("Network.RemoveNeighbour", ["RemoveNeighbourRequest.neighbour"], reason, what, (zone) =>
      zone.bridge.network.removeNeighbour({ neighbour: { ...neighbour, ...change } }, zone.in()),
    ),
  ]),
  refused("Network.AddNeighbour", ["Neighbour.hardware_address"], "INVALID_ADDRESS", "no hardware address", (zone) =>
    zone.bridge.network.addNeighbour({ neighbour: { ...neighbour, hardwareAddress: "" } }, zone.in()),
  ),
];

export const networkRows: Row[] = [
  ...[...configure, ...links, ...addresses, ...routes, ...neighbours],
  ...[...nameRows, ...forwardRows],
];
