import type { Socket } from "node:net";
import type { WarmUp } from "../driver.js";
import { LineSplitter } from "../line-splitter.js";
import { connectWhenThere } from "../qmp.js";

/** The host's end of the line protocol of guest-init.c. */
export class GuestLink {
  readonly #socket: Socket;
  readonly #lines: string[] = [];
  #wake: () => void = () => {};
  #closed = false;

  static async open(uri: string, signal = AbortSignal.timeout(120_000)): Promise<GuestLink> {
    return new GuestLink(await connectWhenThere(uri.replace(/^serial:/, ""), 10_000, signal), signal);
  }

  private constructor(socket: Socket, signal: AbortSignal) {
    this.#socket = socket;
    const splitter = new LineSplitter(4096);
    socket.on("data", (chunk: Buffer) => {
      this.#lines.push(...splitter.push(chunk));
      this.#wake();
    });
    socket.on("error", () => {}); // "close" follows
    socket.once("close", () => {
      this.#closed = true;
      this.#wake();
    });
    signal.addEventListener("abort", () => socket.destroy(), { once: true });
  }

  /** Sends a line that gets no answer. */
  tell(line: string): void {
    this.#socket.write(`${line}\n`);
  }

  /** Sends a line and answers with the guest's. */
  async ask(line: string): Promise<string> {
    this.tell(line);
    for (;;) {
      const answer = this.#lines.shift();
      if (answer !== undefined) return answer;
      if (this.#closed) throw new Error("the link is closed");
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  close(): void {
    this.#socket.destroy();
  }
}

/** Ready when the guest answers. */
export const warmUpGuest: WarmUp = async (uri, signal) => {
  const link = await GuestLink.open(uri, signal);
  try {
    await link.ask("ping");
  } finally {
    link.close();
  }
};
