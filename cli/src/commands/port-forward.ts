import { once } from "node:events";
import { type AddressInfo, createServer, isIP, type Server, type Socket } from "node:net";
import { giveUpForward, openForward, pumpForward, ZoneError } from "@zone/proto";
import { write } from "../attach/output.js";
import { Signals } from "../attach/signals.js";
import { type Bridge, inZone, openBridge, QUICK, zoneName } from "../bridge/connect.js";
import type { Context } from "../context.js";
import { CommandFailure, report } from "../errors.js";
import type { agent, api } from "../messages.js";
import { parseForward } from "../parse/ports.js";
import { UsageError } from "../parse/usage-error.js";
import { portLine } from "./zones.js";

/** The options of `zonectl port-forward`, as given. */
export interface PortForwardOptions {
  readonly address: string;
}

type Mapping = api.PortMapping.$Properties;

/**
 * `zonectl port-forward ZONE MAPPING...`: listens on this host and carries each connection into the zone, over its link: the
 * zone needs no network. Ends with SIGINT or SIGTERM; a connection that fails is told on stderr, and the others go on.
 */
export async function portForward(
  context: Context,
  zone: string,
  mappings: readonly string[],
  options: PortForwardOptions,
): Promise<number> {
  if (isIP(options.address) === 0) throw new UsageError(`invalid address '${options.address}': give an IP address`);
  const wanted = mappings.map((text) => parseForward(text, options.address));
  const name = zoneName(zone);
  const client = await openBridge(context);
  await client.zones.get({ zone: name }, QUICK); // an unknown zone is told at once, not at the first connection
  const servers: Server[] = [];
  const sockets = new Set<Socket>();
  const closeAll = () => {
    for (const server of servers) server.close();
    for (const socket of sockets) socket.destroy();
  };
  const interrupted = new Promise<void>((resolve) => {
    new Signals(
      () => resolve(),
      (number) => process.exit(128 + number),
    );
  });
  try {
    for (const mapping of wanted) {
      const server = createServer({ allowHalfOpen: true }, (socket) => {
        sockets.add(socket);
        socket.on("close", () => sockets.delete(socket));
        carry(client, name, mapping, socket).catch((thrown) => complain(context, thrown));
      });
      servers.push(server);
      await listen(server, mapping);
      // accept(2) fails, for want of descriptors or memory: the others go on, and so does this one when there is some.
      server.on("error", (error) => complain(context, error));
      await write(context.stdout, `${portLine(boundTo(server, mapping))}\n`);
    }
    await interrupted;
  } finally {
    closeAll();
  }
  return 0;
}

/** One connection, to its end. */
async function carry(client: Bridge, zone: string, mapping: Mapping, socket: Socket): Promise<void> {
  socket.on("error", () => {}); // told by the pump
  const call = client.network.forward(inZone(zone));
  try {
    await openForward(call, targetOf(mapping));
  } catch (thrown) {
    if (mapping.hostPath) socket.destroy();
    else socket.resetAndDestroy(); // as a refused connection looks, and not as one that was served nothing
    throw thrown;
  }
  // It has gone meanwhile, and the pump would wait for news of it.
  if (socket.destroyed) giveUpForward(call);
  else await pumpForward(socket, call);
}

/** What a connection of this mapping goes to. */
function targetOf({ zonePath, zonePort }: Mapping): agent.ForwardOpen.$Properties {
  return zonePath ? { unix: { containerId: "main", path: zonePath } } : { tcp: { port: zonePort } };
}

async function listen(server: Server, { hostAddress, hostPort, hostPath }: Mapping): Promise<void> {
  server.listen(hostPath ? { path: hostPath } : { host: hostAddress, port: hostPort });
  try {
    await once(server, "listening");
  } catch (thrown) {
    const where = hostPath || `${hostAddress}:${hostPort}`;
    throw new CommandFailure(`cannot listen on ${where}: ${(thrown as NodeJS.ErrnoException).message}`);
  }
}

/** The mapping with the port that was free. */
function boundTo(server: Server, mapping: Mapping): Mapping {
  const address = server.address();
  return typeof address === "string" || address === null
    ? mapping
    : { ...mapping, hostPort: (address satisfies AddressInfo).port };
}

/** A client that goes away early is its own business; what the zone's side refuses is worth a line. */
function complain(context: Context, thrown: unknown): void {
  const error = ZoneError.from(thrown);
  if (error.reason === "CONNECTION_RESET" || error.code === "CANCELLED") return;
  const { line } = report(error, context.bridge.path);
  if (line !== undefined) context.stderr.write(`${line}\n`);
}
