import { setHostname } from "@zone/native";
import type { Handlers, NetworkService } from "@zone/proto";
import { streamHandler, unaryHandler } from "../handlers.js";
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
  /** A method that takes work and answers with nothing. */
  const change = <Request>(work: (request: Request, signal: AbortSignal) => Promise<void> | void) =>
    unaryHandler<Request, Record<string, never>>(async (request, signal) => {
      admit();
      await work(request, signal);
      return {};
    });
  const answer = <Request, Response>(work: (request: Request) => Promise<Response> | Response) =>
    unaryHandler<Request, Response>((request) => {
      admit();
      return work(request);
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
