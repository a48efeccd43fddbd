import { getSystemErrorName } from "node:util";
import { NetlinkSocket } from "@zone/native";
import { NETWORK_LIMITS } from "../limits.js";
import { NETLINK_ROUTE, NLM_F, NLMSG } from "./constants.js";
import {
  type Acknowledgement,
  decodeAcknowledgement,
  decodeMessages,
  encodeMessage,
  type Message,
} from "./messages.js";

/** The kernel has refused a request. `code` is the errno's name. */
export class NetlinkError extends Error {
  override readonly name = "NetlinkError";
  readonly code: string;

  constructor(code: string, words: string) {
    super(words ? `${code}: ${words}` : code);
    this.code = code;
  }
}

/** What is used of a NetlinkSocket. */
export interface DatagramSocket {
  send(message: Uint8Array): void;
  onMessage: (datagram: Buffer) => void;
  onOverrun: () => void;
  /** The socket is closed then. */
  onError: (error: Error) => void;
  close(): void;
}

/** A request under way: one at a time, since a socket has room for one dump. */
interface Exchange {
  sequence: number;
  dump: boolean;
  messages: Message[];
  interrupted: boolean;
  settle(result: Message[] | Error): void;
}

/** The dump has seen the tables in the middle of a change. */
class InterruptedDump extends Error {}

/** Requests to the kernel's rtnetlink(7) and their answers, one after the other. */
export class RouteSocket {
  readonly #socket: DatagramSocket;
  #sequence = 0;
  #exchange: Exchange | undefined;
  #last: Promise<unknown> = Promise.resolve();
  #closed = false;

  constructor(socket: DatagramSocket) {
    this.#socket = socket;
    socket.onMessage = (datagram) => this.#receive(datagram);
    // An answer may be among what was lost.
    socket.onError = (error) => {
      this.#closed = true;
      this.#exchange?.settle(error);
    };
    socket.onOverrun = () => this.#exchange?.settle(new NetlinkError("ENOBUFS", "the socket's buffer ran over"));
  }

  static open(): RouteSocket {
    return new RouteSocket(NetlinkSocket.open(NETLINK_ROUTE));
  }

  /** Nothing can be asked any more: it was closed, or has failed. */
  get closed(): boolean {
    return this.#closed;
  }

  /** Asks for a change; settles when the kernel has made it. NetlinkError. */
  async request(type: number, flags: number, body: Uint8Array): Promise<void> {
    await this.#exclusively(() => this.#exchangeOnce(type, NLM_F.REQUEST | NLM_F.ACK | flags, body));
  }

  /** All entries of a table, consistent: made again while the kernel says that it changed meanwhile. NetlinkError. */
  dump(type: number, body: Uint8Array): Promise<Message[]> {
    return this.#exclusively(async () => {
      for (let attempt = 1; ; attempt++) {
        try {
          return await this.#exchangeOnce(type, NLM_F.REQUEST | NLM_F.DUMP, body);
        } catch (error) {
          const again = error instanceof InterruptedDump || (error instanceof NetlinkError && error.code === "ENOBUFS");
          if (!again) throw error;
          if (attempt >= NETWORK_LIMITS.dumpAttempts) {
            throw new NetlinkError("EINTR", `the table changed during each of ${attempt} dumps`);
          }
        }
      }
    });
  }

  /** Ends a request under way with ECANCELED. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#exchange?.settle(new NetlinkError("ECANCELED", "the socket was closed"));
    this.#socket.close();
  }

  #exclusively<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(work);
    this.#last = result.catch(() => {}); // its caller is told
    return result;
  }

  #exchangeOnce(type: number, flags: number, body: Uint8Array): Promise<Message[]> {
    if (this.#closed) throw new NetlinkError("ECANCELED", "the socket was closed");
    this.#sequence = (this.#sequence + 1) >>> 0;
    const sequence = this.#sequence;
    return new Promise((resolve, reject) => {
      const settle = (result: Message[] | Error) => {
        if (this.#exchange?.sequence !== sequence) return;
        this.#exchange = undefined;
        clearTimeout(timer);
        if (result instanceof Error) reject(result);
        else resolve(result);
      };
      const timer = setTimeout(
        () => settle(new NetlinkError("ETIMEDOUT", "the kernel has not answered")),
        NETWORK_LIMITS.netlinkTimeoutMs,
      );
      const dump = (flags & NLM_F.DUMP) === NLM_F.DUMP;
      this.#exchange = { ...{ sequence, dump, settle }, messages: [], interrupted: false };
      try {
        this.#socket.send(encodeMessage({ type, flags, sequence, body }));
      } catch (error) {
        settle(error instanceof Error ? error : new Error(String(error)));
      }
    });
  }

  #receive(datagram: Buffer): void {
    try {
      for (const message of decodeMessages(datagram)) this.#take(message);
    } catch (error) {
      this.#exchange?.settle(error instanceof Error ? error : new Error(String(error)));
    }
  }

  #take(message: Message): void {
    const exchange = this.#exchange;
    // Of an exchange that was given up.
    if (!exchange || message.sequence !== exchange.sequence) return;
    if (message.flags & NLM_F.DUMP_INTR) exchange.interrupted = true;
    if (message.type === NLMSG.NOOP) return;
    if (message.type === NLMSG.OVERRUN) {
      exchange.settle(new NetlinkError("ENOBUFS", "data was lost"));
    } else if (message.type === NLMSG.ERROR || message.type === NLMSG.DONE) {
      const failure = failureOf(decodeAcknowledgement(message));
      exchange.settle(failure ?? (exchange.interrupted ? new InterruptedDump() : exchange.messages));
    } else if (exchange.messages.length < NETWORK_LIMITS.dumpMessages) {
      exchange.messages.push(message);
    } else {
      exchange.settle(new NetlinkError("E2BIG", `the table has more than ${NETWORK_LIMITS.dumpMessages} entries`));
    }
  }
}

function failureOf({ errno, text }: Acknowledgement): NetlinkError | undefined {
  return errno === 0 ? undefined : new NetlinkError(getSystemErrorName(-errno), text);
}
