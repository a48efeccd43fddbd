import { setHostname } from "@zone/native";
import type { Handlers, NetworkService } from "@zone/proto";
import { admittedBy, streamHandler } from "../handlers.js";
import { checkHostname } from "../system/hostname.js";
import { checkConfiguration, checkDns, checkHosts, checkRoute } from "./check.js";
import type { Forwarding } from "./forward/forwarding.js";
import type { ZoneNames } from "./names.js";
import { getSysctl, setSysctl } from "./sysctl.js";
import type { ZoneNetwork } from "./zone-network.js";

/** What the service needs of the agent. */
export interface NetworkParts {
  network: ZoneNetwork;
  names: ZoneNames;
  forwarding: Forwarding;
}

/** zone.agent.v1.Network. `admit` throws when the zone takes no work yet. */
export function networkService(
  { network, names, forwarding }: NetworkParts,
  admit: () => void,
): Handlers<typeof NetworkService> {
  const answer = admittedBy(admit);
  /** A method that answers with nothing. */
  const change = <Request>(work: (request: Request, signal: AbortSignal) => Promise<void> | void) =>
    answer<Request, Record<string, never>>(async (request, signal) => {
      await work(request, signal);
      return {};
    });
  return {
    configure: change((request, signal) => network.configure(checkConfiguration(request), signal)),
    listLinks: answer(async () => ({ links: await network.listLinks() })),
    updateLink: answer(async (request) => ({ link: await network.updateLink(request) })),
    addAddress: change(({ link, address }) => network.addAddress(link, address)),
    removeAddress: change(({ link, address }) => network.removeAddress(link, address)),
    listRoutes: answer(async () => ({ routes: await network.listRoutes() })),
    addRoute: change(({ route }) => network.addRoute(checkRoute(route))),
    removeRoute: change(({ route }) => network.removeRoute(checkRoute(route, { removed: true }))),
    listNeighbours: answer(async () => ({ neighbours: await network.listNeighbours() })),
    addNeighbour: change(({ neighbour }) => network.addNeighbour(neighbour)),
    removeNeighbour: change(({ neighbour }) => network.removeNeighbour(neighbour)),
    setDns: change(({ dns }) => names.setDns(checkDns(dns))),
    setHosts: change(({ hosts }) => names.setHosts(checkHosts(hosts))),
    setHostname: change(({ hostname }) => setHostname(checkHostname(hostname ?? ""))),
    getSysctl: answer(({ name }) => ({ value: getSysctl(name) })),
    setSysctl: change(({ name, value }) => setSysctl(name, value ?? "")),
    forward: streamHandler((call) => {
      admit();
      return forwarding.serve(call);
    }),
  };
}
