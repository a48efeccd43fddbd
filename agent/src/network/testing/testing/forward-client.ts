import { once } from "node:events";
import { createClient, type ForwardCall, NetworkService, openForward, ZoneError, type zone } from "@zone/proto";
import type { RunningAgent } from "../../testing/running-agent.js";

/** A client's side of one Forward call, message by message. */
export class ForwardClient {
  readonly call: ForwardCall;
  readonly #chunks: Buffer[] = [];
  #watchers: (() => void)[] = [];
  sawEof = false;
  /** Settles when the call has ended; rejects with its ZoneError. */
  readonly ended: Promise<void>;

  private constructor(call: ForwardCall) {
    this.call = call;
    call.on("data", ({ data, eof }: zone.agent.v1.ForwardResponse) => {
      if (data) this.#chunks.push(Buffer.from(data));
      if (eof) this.sawEof = true;
      for (const watcher of this.#watchers) watcher();
    });
    this.ended = new Promise((resolve, reject) => {
      call.on("end", () => resolve());
      call.on("error", (error: unknown) => reject(ZoneError.from(error)));
    });
    this.ended.catch(() => {});
    call.resume();
  }

  static async open(agent: RunningAgent, open: zone.agent.v1.ForwardOpen.$Properties): Promise<ForwardClient> {
    const call = createClient(NetworkService, agent.session.client).forward();
    await openForward(call, open);
    return new ForwardClient(call);
  }

  get received(): Buffer {
    return Buffer.concat(this.#chunks);
  }

  get receivedBytes(): number {
    return this.#chunks.reduce((sum, { length }) => sum + length, 0);
  }

  /** Sends; waits while the call is full. */
  async send(data: string | Uint8Array): Promise<void> {
    if (!this.call.write({ data: Buffer.from(data) })) await once(this.call, "drain");
  }

  sendEof(): void {
    this.call.write({ eof: {} });
    this.call.end();
  }

  /** Settles when `condition` holds; it is looked at after every message. Rejects when the call ends before. */
  async until(condition: () => boolean): Promise<void> {
    if (condition()) return;
    const held = new Promise<void>((resolve) => {
      this.#watchers.push(() => condition() && resolve());
    });
    await Promise.race([held, this.ended]);
    if (!condition()) throw new Error("the call ended before what was waited for");
  }
}
