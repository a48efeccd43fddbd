import { ZoneError } from "@zone/proto";
import { agentError, invalid } from "../errors.js";
import type { Configuration, LinkName, LinkWish, RouteWish } from "./check.js";
import { kernel, unknownLink } from "./errors.js";
import { formatAddress, formatPrefix, isLinkLocal } from "./ip.js";
import { type AddressRecord, newAddress } from "./netlink/address-message.js";
import { AF } from "./netlink/constants.js";
import type { LinkChange, LinkRecord } from "./netlink/link-message.js";
import type { RouteGoal } from "./netlink/route-message.js";
import { isRoute, isSameAddress, type Rtnetlink } from "./rtnetlink.js";
import { isMade, restore, type Snapshot, takeSnapshot } from "./undo.js";

/** A link that is there, and what it is to become. */
export interface ChosenLink {
  link: LinkRecord;
  wish: LinkWish;
}

/** The link of a name, hardware address, or both. */
export function findLink(links: readonly LinkRecord[], { name, hardwareAddress }: LinkName): LinkRecord | undefined {
  return links.find(
    (link) =>
      (name === "" || link.name === name) &&
      (hardwareAddress === undefined || link.hardwareAddress.equals(hardwareAddress)),
  );
}

/** All of the wishes' links. LINK_UNKNOWN; INVALID_LINK when two wishes are for the same. */
export function chooseLinks(links: readonly LinkRecord[], wishes: readonly LinkWish[]): ChosenLink[] {
  const chosen = wishes.map((wish) => {
    const link = findLink(links, wish);
    if (!link) throw unknownLink(wish.name || formatHardwareAddress(wish.hardwareAddress));
    return { link, wish };
  });
  for (const [at, { link }] of chosen.entries()) {
    if (chosen.findIndex((other) => other.link.index === link.index) === at) continue;
    throw invalid("INVALID_LINK", `the link ${link.name} is configured twice`);
  }
  return chosen;
}

/**
 * Brings the links and routes to what is asked for, or, when that fails, back to what they were. Last calls `finish`, whose failure
 * counts as well.
 */
export async function configure(
  net: Rtnetlink,
  chosen: readonly ChosenLink[],
  { routes }: Pick<Configuration, "routes">,
  finish: () => void,
): Promise<void> {
  for (const { link, wish } of chosen) checkMtu(link, wish.mtu);
  const goals = await routeGoals(net, routes);
  const links = chosen.map(({ link }) => link);
  const snapshot = await kernel("read the network", () => takeSnapshot(net, links));
  await orRestore(net, snapshot, async () => {
    for (const { link, wish } of chosen) {
      await setLink(net, link, { ...(wish.mtu > 0 ? { mtu: wish.mtu } : {}), up: !wish.down });
      await setAddresses(net, snapshot, link, wish);
    }
    await setRoutes(net, snapshot, new Set(links.map(({ index }) => index)), goals);
    finish();
  });
}

/** Runs changes; when one fails, the snapshot is brought back before the error is passed on. */
export async function orRestore<T>(net: Rtnetlink, snapshot: Snapshot, changes: () => Promise<T>): Promise<T> {
  try {
    return await changes();
  } catch (thrown) {
    const failures = await restore(net, snapshot);
    if (failures.length === 0) throw thrown;
    const { code, reason, message, metadata, resource } = ZoneError.from(thrown);
    const more = { metadata, cause: thrown, ...(resource ? { resource } : {}) };
    throw agentError(code, reason, `${message}; and not all is as it was: ${failures.join("; ")}`, more);
  }
}

/** INVALID_LINK when the device cannot have it; 0 is none. */
export function checkMtu({ name, mtuMin, mtuMax }: LinkRecord, mtu: number): void {
  if (mtu === 0 || (mtu >= mtuMin && (mtuMax === 0 || mtu <= mtuMax))) return;
  throw invalid("INVALID_LINK", `${name} cannot have an MTU of ${mtu}: ${mtuMin} to ${mtuMax || "any"} are possible`);
}

/** Sends what differs. */
export async function setLink(net: Rtnetlink, link: LinkRecord, wish: LinkChange): Promise<void> {
  const change: LinkChange = {};
  if (wish.up !== undefined && wish.up !== link.up) change.up = wish.up;
  if (wish.mtu !== undefined && wish.mtu !== link.mtu) change.mtu = wish.mtu;
  if (Object.keys(change).length === 0) return;
  await kernel(`change the link ${link.name}`, () => net.changeLink(link.index, change));
}

async function setAddresses(net: Rtnetlink, snapshot: Snapshot, link: LinkRecord, wish: LinkWish): Promise<void> {
  const wanted = wish.addresses.map((prefix) => newAddress(link.index, prefix));
  const addMissing = async (present: readonly AddressRecord[]) => {
    for (const address of wanted) {
      if (present.some((other) => isSameAddress(other, address))) continue;
      // IPv6 has an address once, whatever its prefix.
      const other = present.find((one) => address.family === AF.INET6 && one.bytes.equals(address.bytes));
      if (other) await remove(other);
      await kernel(`add ${formatPrefix(address)} to ${link.name}`, () => net.addAddress(address));
      snapshot.addedAddresses.push(address);
    }
  };
  const remove = (address: AddressRecord) =>
    kernel(`remove ${formatPrefix(address)} from ${link.name}`, () => net.removeAddress(address));
  const present = async () =>
    (await kernel("list addresses", () => net.addresses())).filter(({ linkIndex }) => linkIndex === link.index);

  const before = await present();
  // First the new ones: a link that loses its last IPv4 address loses all routes.
  await addMissing(before);
  const extra = before.filter(
    (address) => !isInherent(link, address) && !wanted.some((other) => isSameAddress(other, address)),
  );
  for (const address of extra) await remove(address);
  // With the first IPv4 address of a network the kernel removes the others of that network (promote_secondaries is off).
  if (extra.some(({ family }) => family === AF.INET)) await addMissing(await present());
}

/** What a link has by itself: link-local addresses, and the loopback's own. */
function isInherent(link: LinkRecord, { bytes }: AddressRecord): boolean {
  return isLinkLocal(bytes) || (link.loopback && LOOPBACK.includes(formatAddress(bytes)));
}

const LOOPBACK = ["127.0.0.1", "::1"];

async function setRoutes(
  net: Rtnetlink,
  snapshot: Snapshot,
  named: ReadonlySet<number>,
  goals: readonly RouteGoal[],
): Promise<void> {
  const present = (await kernel("list routes", () => net.routes())).filter(isMade);
  for (const route of present) {
    const isOurs = route.targets.length === 1 && route.linkIndex !== undefined && named.has(route.linkIndex);
    if (!isOurs || goals.some((goal) => isRoute(route, goal))) continue;
    await kernel(`remove the route to ${formatPrefix(route.destination)}`, () => net.removeRoute(route));
  }
  // Those to neighbours first: gateways are found through them.
  for (const goal of [...goals].sort((a, b) => (a.gateway ? 1 : 0) - (b.gateway ? 1 : 0))) {
    if (present.some((route) => isRoute(route, goal))) continue;
    if (await addRoute(net, goal)) snapshot.addedRoutes.push(goal);
  }
}

/** Whether it was not there already. */
export function addRoute(net: Rtnetlink, goal: RouteGoal): Promise<boolean> {
  const through = goal.gateway ? ` through ${formatAddress(goal.gateway)}` : "";
  return kernel(`add the route to ${formatPrefix(goal.destination)}${through}`, () => net.addRoute(goal));
}

/** Routes with their links by index; LINK_UNKNOWN. */
export async function routeGoals(net: Rtnetlink, wishes: readonly RouteWish[]): Promise<RouteGoal[]> {
  if (wishes.length === 0) return [];
  const links = await kernel("list links", () => net.links());
  return wishes.map(({ link: name, ...wish }) => {
    if (name === "") return { ...wish, linkIndex: undefined };
    const link = findLink(links, { name, hardwareAddress: undefined });
    if (!link) throw unknownLink(name);
    return { ...wish, linkIndex: link.index };
  });
}

/** "52:54:00:12:34:56" */
export function formatHardwareAddress(bytes: Buffer | undefined): string {
  return bytes?.toString("hex").replace(/(..)(?=.)/g, "$1:") ?? "";
}
