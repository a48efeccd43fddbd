import { chown } from "node:fs/promises";
import { createServer, type Server, type Socket } from "node:net";

/** Takes the state that a VMM migrates to a Unix socket (`unix:PATH`), so that the VMM itself writes no file of ours. */
export class StateReceiver {
  /** The stream whole; rejects when it is longer than allowed. Settles only after a VMM has connected and closed. */
  readonly received: Promise<Buffer>;
  readonly #server: Server;

  /** Listens at `path`, for the user `uid` when given. */
  static async listen(path: string, maxBytes: number, uid: number | undefined): Promise<StateReceiver> {
    const server = createServer({ pauseOnConnect: false });
    const receiver = new StateReceiver(server, maxBytes);
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(path, resolve);
    });
    if (uid !== undefined) await chown(path, uid, uid);
    return receiver;
  }

  private constructor(server: Server, maxBytes: number) {
    this.#server = server;
    this.received = new Promise((resolve, reject) => {
      server.once("connection", (socket: Socket) => {
        const chunks: Buffer[] = [];
        let size = 0;
        socket.on("data", (chunk) => {
          size += chunk.length;
          if (size > maxBytes) socket.destroy(new Error(`the state is longer than ${maxBytes} bytes`));
          else chunks.push(chunk);
        });
        socket.once("end", () => resolve(Buffer.concat(chunks)));
        socket.once("error", reject);
      });
    });
    this.received.catch(() => {}); // also when the build has failed before it looks
  }

  close(): void {
    this.#server.close();
  }
}
