import type { zone as messages } from "@zone/proto";
import { expect } from "vitest";
import type { SurfaceZone } from "./row.js";

type Route = messages.agent.v1.Route.$Properties;

/** The network device that every zone has. */
export const ETH = "eth0";

/** What the zone's network is, as Configure would make it. */
export async function configuration(zone: SurfaceZone) {
  const { links } = await zone.bridge.network.listLinks({}, zone.in());
  const { routes } = await zone.bridge.network.listRoutes({}, zone.in());
  const link = links.find(({ name }) => name === ETH);
  const { hardwareAddress = "", mtu = 0, up = false } = link ?? {};
  const isMade = ({ gateway }: Route) => !!gateway;
  return {
    // Each in an order that does not depend on the time of its making.
    addresses: (link?.addresses ?? []).filter((address) => !address.startsWith("fe80")).sort(),
    routes: routes.filter(isMade).sort((a, b) => ((a.destination ?? "") < (b.destination ?? "") ? -1 : 1)),
    ...{ hardwareAddress, mtu, up },
  };
}

/** Runs a case that changes the network, then brings all back to what it was. */
export async function restoring(
  zone: SurfaceZone,
  use: (before: Awaited<ReturnType<typeof configuration>>) => Promise<void>,
): Promise<void> {
  const before = await configuration(zone);
  const { addresses, routes, mtu } = before;
  try {
    await use(before);
  } finally {
    await zone.bridge.network.configure({ links: [{ name: ETH, addresses, mtu }], routes }, zone.in());
    expect(await configuration(zone)).toEqual(before);
  }
}
