import type { IpAddress } from "./ip.js";
import { ADDRESS_DUMP, type AddressRecord, decodeIpAddress, encodeAddressRemoval } from "./netlink/address-message.js";
import { AF, NLM_F, RTM } from "./netlink/constants.js";
import { decodeLink, encodeLinkChange, LINK_DUMP, type LinkChange, type LinkRecord } from "./netlink/link-message.js";
import type { Message } from "./netlink/messages.js";
import { decodeNeighbour, encodeNeighbour, NEIGHBOUR_DUMP, type NeighbourRecord } from "./netlink/neighbour-message.js";
import {
  decodeRoute,
  encodeRoute,
  encodeRouteRemoval,
  ROUTE_DUMP,
  type RouteGoal,
  type RouteRecord,
} from "./netlink/route-message.js";
import { NetlinkError, type RouteSocket } from "./netlink/route-socket.js";

/**
 * The kernel's tables of links, addresses, routes (main table) and neighbours. A change that is made already is no error. All
 * reject with a NetlinkError.
 */
export class Rtnetlink {
  readonly #socket: RouteSocket;

  constructor(socket: RouteSocket) {
    this.#socket = socket;
  }

  /** Its socket is closed, or has failed: another is needed. */
  get closed(): boolean {
    return this.#socket.closed;
  }

  async links(): Promise<LinkRecord[]> {
    return this.#dump(RTM.GETLINK, LINK_DUMP, RTM.NEWLINK, decodeLink);
  }

  async addresses(): Promise<AddressRecord[]> {
    return this.#dump(RTM.GETADDR, ADDRESS_DUMP, RTM.NEWADDR, decodeIpAddress);
  }

  async routes(): Promise<RouteRecord[]> {
    return this.#dump(RTM.GETROUTE, ROUTE_DUMP, RTM.NEWROUTE, decodeRoute);
  }

  async neighbours(): Promise<NeighbourRecord[]> {
    return this.#dump(RTM.GETNEIGH, NEIGHBOUR_DUMP, RTM.NEWNEIGH, decodeNeighbour);
  }

  changeLink(index: number, change: LinkChange): Promise<void> {
    return this.#socket.request(RTM.NEWLINK, 0, encodeLinkChange(index, change));
  }

  /** EEXIST when the link has the address with another prefix, which IPv6 does not allow beside this one. */
  async addAddress(address: AddressRecord): Promise<void> {
    try {
      await this.#socket.request(RTM.NEWADDR, NLM_F.CREATE | NLM_F.EXCL, address.request);
    } catch (error) {
      const isThere = error instanceof NetlinkError && error.code === "EEXIST";
      if (!isThere || !(await this.addresses()).some((other) => isSameAddress(other, address))) throw error;
    }
  }

  removeAddress(address: Omit<AddressRecord, "request" | "scope">): Promise<void> {
    return unless("EADDRNOTAVAIL", this.#socket.request(RTM.DELADDR, 0, encodeAddressRemoval(address)));
  }

  /** Whether it was not there; EEXIST when there is another route to the same destination with the same metric. */
  async addRoute(goal: RouteGoal): Promise<boolean> {
    try {
      await this.#socket.request(RTM.NEWROUTE, NLM_F.CREATE | NLM_F.EXCL, encodeRoute(goal));
      return true;
    } catch (error) {
      const isThere = error instanceof NetlinkError && error.code === "EEXIST";
      if (!isThere || !(await this.routes()).some((route) => isRoute(route, goal))) throw error;
      return false;
    }
  }

  /** Adds one again that was removed. */
  restoreRoute({ request }: RouteRecord): Promise<void> {
    return unless("EEXIST", this.#socket.request(RTM.NEWROUTE, NLM_F.CREATE | NLM_F.EXCL, request));
  }

  removeRoute(goal: RouteGoal): Promise<void> {
    return unless("ESRCH", this.#socket.request(RTM.DELROUTE, 0, encodeRouteRemoval(goal)));
  }

  /** Replaces what is known of the address. */
  setNeighbour(linkIndex: number, address: IpAddress, hardwareAddress: Buffer): Promise<void> {
    const body = encodeNeighbour(linkIndex, address, hardwareAddress);
    return this.#socket.request(RTM.NEWNEIGH, NLM_F.CREATE | NLM_F.REPLACE, body);
  }

  removeNeighbour(linkIndex: number, address: IpAddress): Promise<void> {
    return unless("ENOENT", this.#socket.request(RTM.DELNEIGH, 0, encodeNeighbour(linkIndex, address)));
  }

  async #dump<T>(type: number, request: Buffer, entry: number, decode: (body: Buffer) => T | undefined): Promise<T[]> {
    const messages: Message[] = await this.#socket.dump(type, request);
    return messages.flatMap((message) => {
      const decoded = message.type === entry ? decode(message.body) : undefined;
      return decoded === undefined ? [] : [decoded];
    });
  }
}

export function isSameAddress(one: AddressRecord, other: AddressRecord): boolean {
  return one.linkIndex === other.linkIndex && one.length === other.length && one.bytes.equals(other.bytes);
}

/** IP6_RT_PRIO_USER: what IPv6 takes for a metric of 0. */
const IPV6_METRIC = 1024;

/** Whether a route is the one that is wanted. One without a link is looked for on all of them. */
export function isRoute(route: RouteRecord, goal: RouteGoal): boolean {
  const { family, length, bytes } = goal.destination;
  const metric = goal.metric || (family === AF.INET6 ? IPV6_METRIC : 0);
  return (
    route.targets.length === 1 &&
    route.destination.length === length &&
    route.destination.bytes.equals(bytes) &&
    route.metric === metric &&
    isSame(route.gateway, goal.gateway) &&
    isSame(route.source, goal.source) &&
    (goal.linkIndex === undefined || goal.linkIndex === route.linkIndex)
  );
}

function isSame(one: Buffer | undefined, other: Buffer | undefined): boolean {
  return one === undefined || other === undefined ? one === other : one.equals(other);
}

/** Takes an errno that says that nothing is to be done. */
async function unless(code: string, request: Promise<void>): Promise<void> {
  try {
    await request;
  } catch (error) {
    if (!(error instanceof NetlinkError && error.code === code)) throw error;
  }
}
