import type { zone } from "@zone/proto";
import type { Logger } from "pino";
import { errorMessage } from "../errors.js";
import type { PortMapping } from "../zones/network-spec.js";
import type { PortOpener, PortTarget } from "../zones/ports.js";
import { type HostEnd, PortForwarder } from "./port-forwarder.js";

/** Publishes ports of zones on this host; their connections go over each zone's link. */
export function portOpener(log: Logger): PortOpener {
  return async (ports, target) => {
    const forwarders: PortForwarder[] = [];
    const close = async () => {
      await Promise.all(forwarders.splice(0).map((forwarder) => forwarder.close()));
    };
    try {
      const opened: PortMapping[] = [];
      for (const port of ports) {
        const forwarder = await PortForwarder.listen({
          listen: hostEnd(port),
          target: () => zoneEnd(port, target),
          client: (signal) => target.client(signal),
          onAcceptFailed: (error) =>
            log.warn({ error: errorMessage(error) }, "a published port cannot take a connection"),
          onConnectionFailed: (error) =>
            log.debug({ error: errorMessage(error) }, "a published port's connection failed"),
        });
        forwarders.push(forwarder);
        const { listening } = forwarder;
        opened.push("port" in listening ? { ...plain(port), hostPort: listening.port } : plain(port));
      }
      return { ports: opened, close };
    } catch (thrown) {
      await close();
      throw thrown;
    }
  };
}

function hostEnd({ hostPath, hostAddress, hostPort }: PortMapping): HostEnd {
  return hostPath ? { path: hostPath } : { address: hostAddress || "127.0.0.1", port: hostPort ?? 0 };
}

/**
 * A port leads to the zone's own address, as Docker's do to a container's: a service takes its clients for ones from the network, and
 * what listens on the zone's loopback alone stays there. Only a zone without a network is reached at its loopback.
 */
function zoneEnd({ zonePath, zonePort }: PortMapping, target: PortTarget): zone.agent.v1.ForwardOpen.$Properties {
  if (zonePath) return { unix: { containerId: target.containerId, path: zonePath } };
  return { tcp: { address: target.address() ?? "", port: zonePort ?? 0 } };
}

/** As it is stored: what is empty left out. */
function plain({ hostAddress, hostPort, hostPath, zonePort, zonePath }: PortMapping): PortMapping {
  return {
    ...(hostAddress && { hostAddress }),
    ...(hostPort && { hostPort }),
    ...(hostPath && { hostPath }),
    ...(zonePort && { zonePort }),
    ...(zonePath && { zonePath }),
  };
}
