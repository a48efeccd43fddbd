import { describe } from "../errors.js";
import { isLinkLocal } from "./ip.js";
import type { AddressRecord } from "./netlink/address-message.js";
import { RTPROT } from "./netlink/constants.js";
import type { LinkChange, LinkRecord } from "./netlink/link-message.js";
import type { RouteGoal, RouteRecord } from "./netlink/route-message.js";
import { isRoute, isSameAddress, type Rtnetlink } from "./rtnetlink.js";

/** Some links as they were, to be brought back; and what has been added since, to be taken away. */
export interface Snapshot {
  links: LinkRecord[];
  /** Of these links. */
  addresses: AddressRecord[];
  /** Of all links but for those that the kernel makes itself. */
  routes: RouteRecord[];
  addedAddresses: AddressRecord[];
  addedRoutes: RouteGoal[];
}

export async function takeSnapshot(net: Rtnetlink, links: readonly LinkRecord[]): Promise<Snapshot> {
  const indexes = new Set(links.map(({ index }) => index));
  return {
    links: [...links],
    addresses: (await net.addresses()).filter(({ linkIndex }) => indexes.has(linkIndex)),
    routes: (await net.routes()).filter(isMade),
    addedAddresses: [],
    addedRoutes: [],
  };
}

/** Whether somebody made the route: not the kernel, which has one for each address. */
export function isMade({ protocol }: RouteRecord): boolean {
  return protocol !== RTPROT.KERNEL;
}

/**
 * Brings the links back to the snapshot, as far as the kernel lets it; what it does not is told in words. A link that went down
 * has lost its routes and IPv6 addresses: they are added again.
 */
export async function restore(net: Rtnetlink, snapshot: Snapshot): Promise<string[]> {
  const failures: string[] = [];
  const attempt = async (step: () => Promise<unknown>) => {
    try {
      await step();
    } catch (error) {
      failures.push(describe(error));
    }
  };
  await attempt(async () => {
    for (const route of snapshot.addedRoutes) await attempt(() => net.removeRoute(route));
    for (const address of snapshot.addedAddresses) await attempt(() => net.removeAddress(address));
    const links = await net.links();
    for (const before of snapshot.links) {
      const now = links.find(({ index }) => index === before.index);
      for (const change of now ? differences(now, before) : [])
        await attempt(() => net.changeLink(before.index, change));
    }
    const addresses = await net.addresses();
    for (const address of snapshot.addresses) {
      // The kernel makes link-local ones of IPv6 when the link comes up.
      const isBack = addresses.some((other) => isSameAddress(other, address));
      if (!isBack && !(isLinkLocal(address.bytes) && address.bytes.length === 16)) {
        await attempt(() => net.addAddress(address));
      }
    }
    const routes = await net.routes();
    // Those to neighbours first: gateways are found through them.
    const direct = (route: RouteRecord) => (route.gateway ? 1 : 0);
    for (const route of [...snapshot.routes].sort((a, b) => direct(a) - direct(b))) {
      if (!routes.some((other) => isSameRoute(other, route))) await attempt(() => net.restoreRoute(route));
    }
  });
  return failures;
}

/** One change at a time, in an order that the kernel takes: the name and hardware address while the link is down. */
function differences(now: LinkRecord, before: LinkRecord): LinkChange[] {
  const changes: LinkChange[] = [];
  const isRenamed = now.name !== before.name;
  const hasOther = !now.hardwareAddress.equals(before.hardwareAddress);
  if (now.up && (isRenamed || hasOther || !before.up)) changes.push({ up: false });
  if (isRenamed) changes.push({ name: before.name });
  if (hasOther) changes.push({ hardwareAddress: before.hardwareAddress });
  if (now.mtu !== before.mtu) changes.push({ mtu: before.mtu });
  if (before.up && (!now.up || isRenamed || hasOther)) changes.push({ up: true });
  return changes;
}

function isSameRoute(one: RouteRecord, other: RouteRecord): boolean {
  if (other.targets.length === 1) return isRoute(one, other);
  return one.targets.length === other.targets.length && one.request.equals(other.request);
}
