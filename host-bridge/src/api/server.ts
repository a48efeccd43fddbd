import { rm } from "node:fs/promises";
import type { Socket, Server as SocketServer } from "node:net";
import { type ConnectionInjector, Server, ServerCredentials, type UntypedHandleCall } from "@grpc/grpc-js";
import { peerCredentials, socketFd } from "@zone/native";
import { HostService, ImagesService, VolumesService, ZonesService } from "@zone/proto";
import type { Logger } from "pino";
import { errorMessage } from "../errors.js";
import { agentHandler, agentServices } from "../forward/agent-services.js";
import type { RawCall } from "../forward/forward-call.js";
import type { Images } from "../images/image-store.js";
import type { Volumes } from "../volumes/volumes.js";
import type { EventHub } from "../zones/event-hub.js";
import type { Caller, ZoneTable } from "../zones/zone-table.js";
import { type HostFacts, hostService } from "./host-service.js";
import { imagesService } from "./images-service.js";
import { type StockServices, stockServices } from "./reflection.js";
import { listenAt } from "./socket.js";
import { volumesService } from "./volumes-service.js";
import { zonesService } from "./zones-service.js";

const MAX_MESSAGE_BYTES = 4 * 1024 * 1024;
const MAX_CONNECTIONS = 1024;
const MAX_STREAMS_PER_CONNECTION = 4096;

/** Of the socket. Users of no common group can only be let in by a mode for all: who is no member is turned away at once. */
const MODE_FOR_GROUP = 0o660;
const MODE_FOR_USERS = 0o666;

/** Who may connect, beside root and the user that the bridge runs as. */
export interface Members {
  uids: readonly number[];
  /** By primary group; the first one owns the socket. */
  gids: readonly number[];
}

export interface ApiOptions {
  zones: ZoneTable;
  images: Images;
  volumes: Volumes;
  events: EventHub;
  host: HostFacts;
  members: Members;
  /** The uid that the bridge runs as. */
  uid: number;
  log: Logger;
}

/**
 * The API on a Unix socket. Who a caller is comes from the kernel (SO_PEERCRED), never from a message: grpc-js tells a handler
 * nothing of its connection, so each user has a gRPC server of its own, with handlers that know the user.
 */
export class ApiServer {
  readonly #options: ApiOptions;
  readonly #path: string;
  readonly #stock: StockServices = stockServices();
  readonly #servers = new Map<number, { server: Server; injector: ConnectionInjector }>();
  readonly #sockets = new Set<Socket>();
  #listener: SocketServer | undefined;

  constructor(path: string, options: ApiOptions) {
    this.#path = path;
    this.#options = options;
  }

  /** Serves from now on. */
  async listen(): Promise<void> {
    const { log, members } = this.#options;
    this.#listener = await listenAt(
      this.#path,
      { gid: members.gids[0], mode: members.uids.length > 0 ? MODE_FOR_USERS : MODE_FOR_GROUP },
      (socket) => this.#accept(socket),
      (error) => log.warn({ error: error.message }, "a connection could not be accepted"),
    );
  }

  /** Takes no more calls and ends those that run after `graceMs`. */
  async close(graceMs: number): Promise<void> {
    this.#stock.setServing(false);
    this.#listener?.close();
    await rm(this.#path, { force: true });
    const servers = [...this.#servers.values()];
    for (const { injector } of servers) injector.drain(graceMs);
    await Promise.race([
      Promise.all([...this.#sockets].map((socket) => new Promise((resolve) => socket.once("close", resolve)))),
      new Promise((resolve) => setTimeout(resolve, graceMs)),
    ]);
    for (const { server } of servers) server.forceShutdown();
    for (const socket of this.#sockets) socket.destroy();
  }

  #accept(socket: Socket): void {
    socket.on("error", (error) => this.#options.log.debug({ error: error.message }, "a client's connection failed"));
    try {
      const { uid, gid } = peerCredentials(socketFd(socket));
      if (!this.#isMember(uid, gid)) {
        this.#options.log.warn({ uid, gid }, "a connection was refused: its user is no member");
        socket.destroy();
      } else if (this.#sockets.size >= MAX_CONNECTIONS) {
        this.#options.log.warn({ uid }, "a connection was refused: there are too many");
        socket.destroy();
      } else {
        this.#sockets.add(socket);
        socket.once("close", () => this.#sockets.delete(socket));
        this.#injectorFor(uid).injectConnection(socket);
      }
    } catch (thrown) {
      this.#options.log.warn({ error: errorMessage(thrown) }, "a connection was refused: its user is not known");
      socket.destroy();
    }
  }

  #isMember(uid: number, gid: number): boolean {
    const { members } = this.#options;
    return this.#isAdmin(uid) || members.uids.includes(uid) || members.gids.includes(gid);
  }

  #isAdmin(uid: number): boolean {
    return uid === 0 || uid === this.#options.uid;
  }

  #injectorFor(uid: number): ConnectionInjector {
    let entry = this.#servers.get(uid);
    if (!entry) {
      const server = this.#makeServer({ uid, admin: this.#isAdmin(uid) });
      entry = { server, injector: server.createConnectionInjector(ServerCredentials.createInsecure()) };
      this.#servers.set(uid, entry);
    }
    return entry.injector;
  }

  #makeServer(caller: Caller): Server {
    const { zones, images, volumes, events, host, log } = this.#options;
    const server = new Server({
      "grpc.max_receive_message_length": MAX_MESSAGE_BYTES,
      "grpc.max_send_message_length": -1,
      "grpc.max_concurrent_streams": MAX_STREAMS_PER_CONNECTION,
      "grpc.enable_channelz": 0,
    });
    server.addService(ZonesService, zonesService(zones, events, caller, log) as Record<string, UntypedHandleCall>);
    server.addService(ImagesService, imagesService(images, zones, log) as Record<string, UntypedHandleCall>);
    const ofVolumes = volumesService(volumes, zones, caller, log);
    server.addService(VolumesService, ofVolumes as Record<string, UntypedHandleCall>);
    server.addService(HostService, hostService(host, log) as Record<string, UntypedHandleCall>);
    const forward: (call: RawCall) => void = agentHandler(zones, caller);
    for (const service of agentServices) {
      server.addService(service, Object.fromEntries(Object.keys(service).map((method) => [method, forward])));
    }
    this.#stock.addTo(server);
    return server;
  }
}
