import { once } from "node:events";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";

/** Services of the "zone", which here is this host. */
export class Services {
  #servers: Server[] = [];
  readonly #sockets = new Set<Socket>();

  /** Listens, by default on a free port of 127.0.0.1; the port. */
  async add(onConnection: (socket: Socket) => void, where: object = { host: "127.0.0.1", port: 0 }): Promise<number> {
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      this.#sockets.add(socket);
      socket.on("close", () => this.#sockets.delete(socket));
      socket.on("error", () => {});
      onConnection(socket);
    });
    this.#servers.push(server);
    server.listen(where);
    await once(server, "listening");
    return (server.address() as AddressInfo).port;
  }

  /** Listens no more, and closes what it has accepted. */
  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    const closed = this.#servers.splice(0).map((server) => once(server.close(), "close"));
    await Promise.all(closed);
  }

  /** A port of 127.0.0.1 that nobody listens on. */
  static async unusedPort(): Promise<number> {
    const services = new Services();
    const port = await services.add(() => {});
    await services.close();
    return port;
  }
}
