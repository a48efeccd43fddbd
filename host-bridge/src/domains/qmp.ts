import { connect, type Socket } from "node:net";
import { sendDescriptors, socketFd } from "@zone/native";
import { bridgeError } from "../errors.js";
import { LineSplitter } from "./line-splitter.js";

/** Longest line taken from QEMU, which is semi-trusted: a guest that has broken out of it may write anything here. */
const MAX_LINE_BYTES = 1 << 20;
const DEFAULT_TIMEOUT_MS = 30_000;

export interface QmpEvent {
  name: string;
  data: Record<string, unknown>;
}

export interface QmpOptions {
  /** For the greeting and the capabilities; milliseconds. */
  timeoutMs?: number;
  onEvent?: (event: QmpEvent) => void;
}

interface Waiter {
  accept(message: Message): boolean;
  fail(error: Error): void;
}

type Message =
  | { kind: "greeting" }
  | { kind: "event"; event: QmpEvent }
  | { kind: "return"; id: unknown; value: unknown }
  | { kind: "error"; id: unknown; description: string };

/**
 * A session with QEMU's monitor (docs/interop/qmp-spec.txt in QEMU): commands are answered in order of their ids, events come
 * between. A line that is too long or is not QMP ends the session. Errors are INTERNAL/QMP_FAILED (QEMU refused),
 * INTERNAL/QMP_BROKEN (not QMP), UNAVAILABLE/QMP_CLOSED and DEADLINE_EXCEEDED/QMP_TIMEOUT.
 */
export class QmpClient {
  /** Settles when the socket is closed, by whichever side. */
  readonly closed: Promise<void>;
  readonly #socket: Socket;
  readonly #waiters = new Set<Waiter>();
  /** Told all events, in their order. */
  onEvent: (event: QmpEvent) => void;
  #nextId = 1;
  #failure: Error | undefined;

  /** Takes over a connected socket; answers when commands may be sent. */
  static async open(socket: Socket, options: QmpOptions = {}): Promise<QmpClient> {
    const client = new QmpClient(socket, options.onEvent ?? (() => {}));
    try {
      const { timeoutMs = DEFAULT_TIMEOUT_MS } = options;
      await client.#wait("greeting", timeoutMs, (message) =>
        message.kind === "greeting" ? { value: undefined } : undefined,
      );
      await client.execute("qmp_capabilities", {}, timeoutMs);
      return client;
    } catch (error) {
      client.close();
      throw error;
    }
  }

  private constructor(socket: Socket, onEvent: (event: QmpEvent) => void) {
    this.#socket = socket;
    this.onEvent = onEvent;
    const lines = new LineSplitter(MAX_LINE_BYTES);
    socket.on("data", (chunk: Buffer) => {
      try {
        for (const line of lines.push(chunk)) this.#take(parseMessage(line));
      } catch (error) {
        this.#end(broken(error));
      }
    });
    socket.on("error", (error) => this.#end(closed(error)));
    this.closed = new Promise((resolve) => {
      socket.once("close", () => {
        this.#end(closed());
        resolve();
      });
    });
  }

  /** Sends a command and answers with its return value. */
  execute(command: string, args: Record<string, unknown> = {}, timeoutMs = DEFAULT_TIMEOUT_MS): Promise<unknown> {
    const id = this.#nextId++;
    const answer = this.#wait(command, timeoutMs, (message) => {
      if (message.kind === "return" && message.id === id) return { value: message.value };
      if (message.kind === "error" && message.id === id) {
        throw bridgeError("INTERNAL", "QMP_FAILED", `QEMU refused ${command}: ${message.description}`);
      }
      return undefined;
    });
    if (!this.#failure) this.#socket.write(`${JSON.stringify({ execute: command, arguments: args, id })}\n`);
    return answer;
  }

  /** The same for a command that takes a descriptor (add-fd, getfd), which stays the caller's. */
  async executeWith(fd: number, command: string): Promise<unknown> {
    if (this.#failure) throw this.#failure;
    // Behind all that was written before. QEMU keeps what comes with a blank until the command asks for it.
    await new Promise<void>((resolve, reject) => {
      this.#socket.write("\n", (error) => (error ? reject(closed(error)) : resolve()));
    });
    if (!sendDescriptors(socketFd(this.#socket), Buffer.from(" "), [fd]))
      throw bridgeError("UNAVAILABLE", "QMP_TIMEOUT", "QEMU does not read what its monitor is told");
    return this.execute(command);
  }

  /** The next event that `matches`; register before the command that causes it. */
  event(what: string, matches: (event: QmpEvent) => boolean, timeoutMs = DEFAULT_TIMEOUT_MS): Promise<QmpEvent> {
    return this.#wait(what, timeoutMs, (message) =>
      message.kind === "event" && matches(message.event) ? { value: message.event } : undefined,
    );
  }

  close(): void {
    this.#socket.destroy();
  }

  #wait<T>(what: string, timeoutMs: number, match: (message: Message) => { value: T } | undefined): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (this.#failure) return reject(this.#failure);
      const settle = () => {
        clearTimeout(timer);
        this.#waiters.delete(waiter);
      };
      const waiter: Waiter = {
        accept: (message) => {
          try {
            const matched = match(message);
            if (!matched) return false;
            settle();
            resolve(matched.value);
          } catch (error) {
            settle();
            reject(error);
          }
          return true;
        },
        fail: (error) => {
          settle();
          reject(error);
        },
      };
      const timer = setTimeout(() => {
        waiter.fail(
          bridgeError("DEADLINE_EXCEEDED", "QMP_TIMEOUT", `QEMU did not answer ${what} within ${timeoutMs} ms`),
        );
      }, timeoutMs);
      this.#waiters.add(waiter);
    });
  }

  #take(message: Message): void {
    for (const waiter of [...this.#waiters]) waiter.accept(message);
    if (message.kind === "event") this.onEvent(message.event);
  }

  #end(error: Error): void {
    if (this.#failure) return;
    this.#failure = error;
    for (const waiter of [...this.#waiters]) waiter.fail(error);
    this.#socket.destroy();
  }
}

/** One line of QMP from QEMU. Throws when it is none. */
export function parseMessage(line: string): Message {
  const value: unknown = JSON.parse(line);
  if (!isRecord(value)) throw new Error("not an object");
  if ("QMP" in value) return { kind: "greeting" };
  if (typeof value.event === "string") {
    return { kind: "event", event: { name: value.event, data: isRecord(value.data) ? value.data : {} } };
  }
  if ("return" in value) return { kind: "return", id: value.id, value: value.return };
  if (isRecord(value.error)) return { kind: "error", id: value.id, description: String(value.error.desc) };
  throw new Error("neither greeting, event, return nor error");
}

/**
 * Connects to a Unix socket that is about to be made: while there is nobody yet (ENOENT, ECONNREFUSED) again every millisecond,
 * since Node cannot hand a listening socket to a child. Rejects with the last error at the timeout or with the signal's reason.
 */
export async function connectWhenThere(path: string, timeoutMs: number, signal: AbortSignal): Promise<Socket> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    signal.throwIfAborted();
    try {
      return await connectOnce(path);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      const early = code === "ENOENT" || code === "ECONNREFUSED";
      if (!early || performance.now() > deadline) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

function connectOnce(path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ path });
    socket.once("error", reject);
    socket.once("connect", () => {
      socket.off("error", reject);
      resolve(socket);
    });
  });
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function broken(cause: unknown): Error {
  const why = cause instanceof Error ? cause.message : String(cause);
  return bridgeError("INTERNAL", "QMP_BROKEN", `QEMU's monitor sent what is not QMP: ${why}`, undefined, cause);
}

function closed(cause?: Error): Error {
  const why = cause ? `: ${cause.message}` : "";
  return bridgeError("UNAVAILABLE", "QMP_CLOSED", `QEMU closed its monitor${why}`, undefined, cause);
}
