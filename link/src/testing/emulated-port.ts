import type { Duplex } from "node:stream";
import { memoryDuplexPair } from "../memory-pair.js";
import { type Listener, listenUnix } from "../transports/unix.js";

/**
 * A virtio-serial port as QEMU has it: a Unix socket for the host (one client at a time; the next waits), and a device for the
 * guest, which reads EOF while no client is connected, and can be opened again. For tests.
 */
export class EmulatedPort {
  /** Clients of the host's side; the first is connected. */
  readonly #clients: Duplex[] = [];
  /** Our end of the device that the guest has open. */
  #device: Duplex | undefined;
  #listener: Listener | undefined;

  /** `path`: what a `serial:` link names. */
  static async listen(path: string): Promise<EmulatedPort> {
    const port = new EmulatedPort();
    port.#listener = await listenUnix(path, (client) => port.#join(client));
    return port;
  }

  /** The guest opens the device. */
  open(): Duplex {
    const [device, guest] = memoryDuplexPair();
    this.#device = device;
    device.on("data", (chunk: Buffer) => {
      const [client] = this.#clients;
      if (client) pass(chunk, device, client);
    });
    device.on("error", () => {});
    guest.on("close", () => {
      device.destroy();
      if (this.#device === device) this.#device = undefined;
      this.#clients[0]?.pause();
    });
    if (this.#clients.length === 0) device.end();
    this.#clients[0]?.resume();
    return guest;
  }

  /** The first client goes, and the guest does not see it: a snapshot of the zone goes on at another host. */
  loseClientUnseen(): void {
    this.#clients.shift()?.destroy();
    if (this.#device) this.#clients[0]?.resume();
  }

  async close(): Promise<void> {
    for (const client of this.#clients.splice(0)) client.destroy();
    this.#device?.destroy();
    await this.#listener?.close();
  }

  #join(client: Duplex): void {
    this.#clients.push(client);
    client.on("data", (chunk: Buffer) => {
      if (this.#device) pass(chunk, client, this.#device);
    });
    client.on("error", () => {});
    client.on("end", () => client.destroy());
    client.on("close", () => this.#leave(client));
    if (this.#clients[0] !== client || !this.#device) client.pause();
  }

  #leave(client: Duplex): void {
    const at = this.#clients.indexOf(client);
    if (at < 0) return;
    this.#clients.splice(at, 1);
    if (at === 0) this.#device?.end();
  }
}

function pass(chunk: Buffer, from: Duplex, to: Duplex): void {
  if (to.writableEnded || to.destroyed || to.write(chunk)) return;
  from.pause();
  const resume = () => {
    to.off("drain", resume);
    to.off("close", resume);
    from.resume();
  };
  to.on("drain", resume);
  to.on("close", resume);
}
