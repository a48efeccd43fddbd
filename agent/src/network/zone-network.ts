import type { zone } from "@zone/proto";
import { agentError, invalid } from "../errors.js";
import {
  type Configuration,
  checkHardwareAddress,
  checkHost,
  checkHostPrefix,
  checkLinkName,
  type LinkName,
  type RouteWish,
} from "./check.js";
import {
  addRoute,
  checkMtu,
  chooseLinks,
  configure,
  findLink,
  formatHardwareAddress,
  orRestore,
  routeGoals,
  setLink,
} from "./configure.js";
import { kernel, unknownLink } from "./errors.js";
import { formatAddress, formatPrefix } from "./ip.js";
import { waitForLinks } from "./link-wait.js";
import type { ZoneNames } from "./names.js";
import { type AddressRecord, newAddress } from "./netlink/address-message.js";
import type { LinkChange, LinkRecord } from "./netlink/link-message.js";
import { NetlinkError, RouteSocket } from "./netlink/route-socket.js";
import { Rtnetlink } from "./rtnetlink.js";
import { restore, takeSnapshot } from "./undo.js";

type LinkMessage = zone.agent.v1.Link.$Properties;
type RouteMessage = zone.agent.v1.Route.$Properties;
type NeighbourMessage = zone.agent.v1.Neighbour.$Properties;

/** The zone's links, addresses, routes and neighbours. Changes are made one after the other. */
export class ZoneNetwork {
  readonly #names: ZoneNames;
  readonly #open: () => RouteSocket;
  #opened: Rtnetlink | undefined;
  #last: Promise<unknown> = Promise.resolve();

  constructor(names: ZoneNames, open = () => RouteSocket.open()) {
    this.#names = names;
    this.#open = open;
  }

  /** Brings up the loopback when it is not; a new network namespace's is down. */
  async raiseLoopback(): Promise<void> {
    const net = this.#net();
    const loopback = (await net.links()).find((link) => link.loopback);
    if (loopback && !loopback.up) await net.changeLink(loopback.index, { up: true });
  }

  /** Waits for the links, then changes them; all of it or, when it fails, nothing. */
  async configure(wishes: Configuration, signal: AbortSignal): Promise<void> {
    const net = this.#net();
    const waiting = wishes.links.map((wish) =>
      waitForLinks(async () => findLink(await this.#links(), wish), wish.waitMs, signal),
    );
    await Promise.all(waiting);
    await this.#exclusively(async () => {
      const chosen = chooseLinks(await this.#links(), wishes.links);
      await configure(net, chosen, wishes, () => {
        if (wishes.dns) this.#names.setDns(wishes.dns);
      });
    });
  }

  async listLinks(): Promise<LinkMessage[]> {
    const links = await this.#links();
    const addresses = await kernel("list addresses", () => this.#net().addresses());
    return links.map((link) => toLinkMessage(link, addresses));
  }

  async updateLink(request: zone.agent.v1.UpdateLinkRequest.$Properties): Promise<LinkMessage> {
    const name = checkLinkName(request.name);
    const identity: LinkChange = {};
    if (request.newName) identity.name = checkLinkName(request.newName);
    if (request.hardwareAddress) {
      identity.hardwareAddress = checkHardwareAddress("INVALID_LINK", request.hardwareAddress);
    }
    const index = await this.#exclusively(async () => {
      const links = await this.#links();
      const link = find(links, name);
      checkMtu(link, request.mtu ?? 0);
      if (identity.name === link.name) delete identity.name;
      if (identity.hardwareAddress?.equals(link.hardwareAddress)) delete identity.hardwareAddress;
      if (links.some((other) => other.name === identity.name)) {
        throw invalid("INVALID_LINK", `there is a link "${identity.name}" already`);
      }
      await this.#update(link, identity, request);
      return link.index;
    });
    const changed = (await this.listLinks()).find((link) => link.index === index);
    if (!changed) throw unknownLink(name);
    return changed;
  }

  async addAddress(linkName: string | null | undefined, address: string | null | undefined): Promise<void> {
    const prefix = checkHostPrefix(address);
    const name = checkLinkName(linkName);
    await this.#exclusively(async () => {
      const { index } = find(await this.#links(), name);
      await kernel(`add ${formatPrefix(prefix)} to ${name}`, () => this.#net().addAddress(newAddress(index, prefix)));
    });
  }

  async removeAddress(linkName: string | null | undefined, address: string | null | undefined): Promise<void> {
    const prefix = checkHostPrefix(address);
    const name = checkLinkName(linkName);
    await this.#exclusively(async () => {
      const { index } = find(await this.#links(), name);
      await kernel(`remove ${formatPrefix(prefix)} from ${name}`, () =>
        this.#net().removeAddress({ ...prefix, linkIndex: index }),
      );
    });
  }

  async listRoutes(): Promise<RouteMessage[]> {
    const names = namesByIndex(await this.#links());
    const routes = await kernel("list routes", () => this.#net().routes());
    return routes.flatMap(({ destination, metric, source, targets }) =>
      targets.map(({ gateway, linkIndex }) => ({
        destination: formatPrefix(destination),
        gateway: gateway ? formatAddress(gateway) : "",
        link: linkIndex === undefined ? "" : (names.get(linkIndex) ?? ""),
        metric,
        source: source ? formatAddress(source) : "",
      })),
    );
  }

  addRoute(wish: RouteWish): Promise<void> {
    return this.#exclusively(async () => {
      for (const goal of await routeGoals(this.#net(), [wish])) await addRoute(this.#net(), goal);
    });
  }

  removeRoute(wish: RouteWish): Promise<void> {
    return this.#exclusively(async () => {
      for (const goal of await routeGoals(this.#net(), [wish])) {
        const operation = `remove the route to ${formatPrefix(goal.destination)}`;
        await kernel(operation, () => this.#net().removeRoute(goal));
      }
    });
  }

  async listNeighbours(): Promise<NeighbourMessage[]> {
    const names = namesByIndex(await this.#links());
    const neighbours = await kernel("list neighbours", () => this.#net().neighbours());
    return neighbours.map(({ linkIndex, bytes, hardwareAddress, state }) => ({
      link: names.get(linkIndex) ?? "",
      address: formatAddress(bytes),
      hardwareAddress: formatHardwareAddress(hardwareAddress),
      state,
    }));
  }

  async addNeighbour(neighbour: NeighbourMessage | null | undefined): Promise<void> {
    const address = checkHost("INVALID_ADDRESS", neighbour?.address);
    const hardwareAddress = checkHardwareAddress("INVALID_ADDRESS", neighbour?.hardwareAddress ?? "");
    const name = checkLinkName(neighbour?.link);
    await this.#exclusively(async () => {
      const { index } = find(await this.#links(), name);
      await kernel(`add the neighbour ${neighbour?.address} on ${name}`, () =>
        this.#net().setNeighbour(index, address, hardwareAddress),
      );
    });
  }

  async removeNeighbour(neighbour: NeighbourMessage | null | undefined): Promise<void> {
    const address = checkHost("INVALID_ADDRESS", neighbour?.address);
    const name = checkLinkName(neighbour?.link);
    await this.#exclusively(async () => {
      const { index } = find(await this.#links(), name);
      await kernel(`remove the neighbour ${neighbour?.address} from ${name}`, () =>
        this.#net().removeNeighbour(index, address),
      );
    });
  }

  /** All of it or, when it fails, nothing. */
  async #update(
    link: LinkRecord,
    identity: LinkChange,
    { up, mtu }: Pick<zone.agent.v1.UpdateLinkRequest.$Properties, "up" | "mtu">,
  ): Promise<void> {
    const net = this.#net();
    const before = await kernel("read the network", () => takeSnapshot(net, [link]));
    await orRestore(net, before, async () => {
      if (mtu) await setLink(net, link, { mtu });
      if (Object.keys(identity).length > 0) {
        const operation = `change the name or hardware address of ${link.name}`;
        const goesDown = await kernel(operation, () => this.#changeIdentity(link, identity));
        // What it has lost by that it gets back, under its new name.
        const after = { ...link, ...identity, ...(mtu ? { mtu } : {}) };
        const failures = goesDown ? await restore(net, { ...before, links: [after] }) : [];
        if (failures.length > 0) {
          const metadata = { operation, errno: "" };
          throw agentError("INTERNAL", "NETLINK_FAILED", `cannot ${operation}: ${failures.join("; ")}`, { metadata });
        }
      }
      if (typeof up === "boolean") await setLink(net, link, { up });
    });
  }

  /** Many devices take no other name or address while they are up: then they go down. Whether that was needed. */
  async #changeIdentity(link: LinkRecord, identity: LinkChange): Promise<boolean> {
    const net = this.#net();
    try {
      await net.changeLink(link.index, identity);
      return false;
    } catch (error) {
      if (!(link.up && error instanceof NetlinkError && error.code === "EBUSY")) throw error;
    }
    await net.changeLink(link.index, { up: false });
    await net.changeLink(link.index, identity);
    return true;
  }

  #links(): Promise<LinkRecord[]> {
    return kernel("list links", () => this.#net().links());
  }

  #net(): Rtnetlink {
    if (this.#opened?.closed) this.#opened = undefined;
    this.#opened ??= new Rtnetlink(this.#open());
    return this.#opened;
  }

  #exclusively<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(work);
    this.#last = result.catch(() => {}); // its caller is told
    return result;
  }
}

function find(links: readonly LinkRecord[], name: string): LinkRecord {
  const wanted: LinkName = { name, hardwareAddress: undefined };
  const link = findLink(links, wanted);
  if (!link) throw unknownLink(name);
  return link;
}

function namesByIndex(links: readonly LinkRecord[]): Map<number, string> {
  return new Map(links.map(({ index, name }) => [index, name]));
}

function toLinkMessage(link: LinkRecord, addresses: readonly AddressRecord[]): LinkMessage {
  const { index, name, mtu, up, running, loopback, stats } = link;
  return {
    ...{ index, name, mtu, up, running, loopback },
    hardwareAddress: formatHardwareAddress(link.hardwareAddress),
    addresses: addresses.filter(({ linkIndex }) => linkIndex === index).map(formatPrefix),
    receivedBytes: Number(stats.receivedBytes),
    sentBytes: Number(stats.sentBytes),
    receivedPackets: Number(stats.receivedPackets),
    sentPackets: Number(stats.sentPackets),
    droppedPackets: Number(stats.droppedPackets),
  };
}
