import type { Socket } from "node:net";
import type * as grpc from "@grpc/grpc-js";
import { dup, socketFd, streamFromFd } from "@zone/native";
import { FORWARD_CHUNK_BYTES, type ForwardMessage, pumpMessages, resetSocket, ZoneError, type zone } from "@zone/proto";
import { agentError, invalid } from "../../errors.js";
import { NETWORK_LIMITS } from "../limits.js";
import { type ConnectOptions, connectionError, connectTo } from "./connect.js";
import { checkOpen, describeTarget } from "./target.js";

export type ForwardCall = grpc.ServerDuplexStream<
  zone.agent.v1.ForwardRequest,
  zone.agent.v1.ForwardResponse.$Properties
>;

/**
 * The Forward calls of the zone.
 *
 *     waiting --open--> connecting --connected--> moving --both ended--> over
 *        every state --cancelled, or an error--> over: the connection is reset, its descriptors are closed
 */
export class Forwarding {
  readonly #rootOf: ConnectOptions["rootOf"];
  #connections = 0;

  constructor(rootOf: ConnectOptions["rootOf"]) {
    this.#rootOf = rootOf;
  }

  /** Serves one call; settles when both directions have ended. */
  async serve(call: ForwardCall): Promise<void> {
    const gone = new AbortController();
    call.on("cancelled", () => gone.abort(cancelled()));
    if (call.cancelled) throw cancelled();
    const { target, timeoutMs } = checkOpen((await firstMessage(call, gone.signal)).open);
    if (this.#connections >= NETWORK_LIMITS.connections) {
      throw agentError(
        "RESOURCE_EXHAUSTED",
        "TOO_MANY_CONNECTIONS",
        `${NETWORK_LIMITS.connections} connections are forwarded into the zone already`,
      );
    }
    this.#connections++;
    try {
      const where = describeTarget(target);
      const socket = await connectTo(target, { rootOf: this.#rootOf, timeoutMs, signal: gone.signal });
      if (gone.signal.aborted) {
        resetSocket(socket);
        throw cancelled();
      }
      await this.#move(socket, call, where);
    } finally {
      this.#connections--;
    }
  }

  async #move(socket: Socket, call: ForwardCall, where: string): Promise<void> {
    // Written to by one stream and read by another, on two descriptors: Node gives up a stream as a whole when it cannot be
    // written to, and with it what the service had still said. A service that answers and closes is not to be cut short.
    const reader = openReader(socket);
    let ended = false;
    call.write({ opened: {} });
    try {
      await pumpMessages(socket, call, {
        reader,
        windowBytes: () => this.#window(),
        check: (message) => {
          ended = checkMessage(message, ended);
        },
      });
    } catch (error) {
      throw error instanceof ZoneError ? error : connectionError(where, error);
    }
  }

  /** A fair share, so that many slow clients do not fill the zone's memory. */
  #window(): number {
    const { inFlightBytes, connectionBytes } = NETWORK_LIMITS;
    const share = inFlightBytes / Math.max(1, this.#connections);
    return Math.min(connectionBytes.max, Math.max(connectionBytes.min, share));
  }
}

/** Whether the client has ended its direction. */
function checkMessage(message: ForwardMessage, ended: boolean): boolean {
  if (ended || !(message.data || message.eof)) {
    throw invalid("OPEN_EXPECTED", "a Forward carries `open` first and once, then data, and nothing after its eof");
  }
  if (message.data && message.data.length > FORWARD_CHUNK_BYTES) {
    const size = message.data.length;
    throw invalid("INVALID_SIZE", `a data message has ${size} bytes; at most ${FORWARD_CHUNK_BYTES} are taken`);
  }
  return message.eof !== null && message.eof !== undefined;
}

function openReader(socket: Socket): Socket {
  try {
    return streamFromFd(dup(socketFd(socket)), { readable: true, writable: false });
  } catch (error) {
    socket.destroy();
    throw error;
  }
}

function firstMessage(call: ForwardCall, signal: AbortSignal): Promise<zone.agent.v1.ForwardRequest> {
  return new Promise((resolve, reject) => {
    const leave = () => {
      call.removeListener("data", onData);
      call.removeListener("end", onEnd);
      signal.removeEventListener("abort", onAbort);
    };
    const onData = (message: zone.agent.v1.ForwardRequest) => {
      leave();
      call.pause();
      resolve(message);
    };
    const onEnd = () => {
      leave();
      reject(invalid("OPEN_EXPECTED", "the Forward has ended before its `open`"));
    };
    const onAbort = () => {
      leave();
      reject(signal.reason);
    };
    call.on("data", onData);
    call.on("end", onEnd);
    signal.addEventListener("abort", onAbort);
  });
}

function cancelled(): Error {
  return agentError("CANCELLED", "CANCELLED", "the call was cancelled");
}
