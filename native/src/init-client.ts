import { constants } from "node:os";
import { addon, POLL_READABLE, POLL_WRITABLE, type PollHandle } from "./addon.js";
import { closeFd } from "./descriptors.js";
import {
  decodeMessage,
  encodeMessage,
  type InitMessage,
  KILL_GROUP,
  MESSAGE_BYTES,
  PROTOCOL_VERSION,
  STAGES,
  TYPE,
} from "./init-messages.js";
import { closeKept, exitOf, readRecord } from "./init-records.js";
import {
  type InitRecord,
  type ProcessExit,
  type RequestError,
  type SpawnDescriptors,
  SpawnError,
} from "./init-types.js";
import { adoptPacket, type Packet, spawnPacket } from "./spawn-packet.js";
import type { SpawnSpec } from "./spawn-types.js";

interface Pending<T> {
  resolve(value: T): void;
  reject(error: Error): void;
}

/** Packets taken per turn of the event loop. */
const PACKETS_PER_TURN = 256;

const REQUEST_NAMES: Record<number, RequestError["request"]> = {
  [TYPE.kill]: "kill",
  [TYPE.dropKept]: "dropKept",
  [TYPE.release]: "release",
  [TYPE.powerOff]: "powerOff",
};

/** The agent's side of zone_init.h. One per control socket. */
export class InitClient {
  /** How often the agent was started again in this boot; not 0: list() has what the one before has left. */
  readonly restarts: number;
  /** A process that this client has started or listed has been reaped. */
  onExit: (exit: ProcessExit) => void = () => {};
  /** A request that has no answer of its own (kill, dropKept, release, powerOff) has failed. */
  onError: (error: RequestError) => void = () => {};
  /** PID 1's end is gone or has broken the protocol; all that was pending has been rejected. Not called by close(). */
  onClose: (reason: Error) => void = () => {};

  readonly #fd: number;
  readonly #poll: PollHandle;
  readonly #packet = Buffer.alloc(MESSAGE_BYTES);
  readonly #outgoing: Packet[] = [];
  readonly #spawning = new Map<bigint, Pending<{ pid: number }>>();
  #listing: (Pending<InitRecord[]> & { records: InitRecord[] }) | undefined;
  /** Exits on their way to onExit. */
  #exits: ProcessExit[] = [];
  #exitsScheduled = false;
  #open = true;

  private constructor(fd: number, restarts: number) {
    this.#fd = fd;
    this.restarts = restarts;
    this.#poll = addon().pollStart(fd, POLL_READABLE, (error, events) => this.#onReady(error, events));
  }

  /**
   * Takes over `fd` (ZI_CONTROL_FD) and settles after PID 1's greeting. Rejects, and closes `fd`, when the other end is gone or
   * speaks another version.
   */
  static open(fd: number): Promise<InitClient> {
    return new Promise((resolve, reject) => {
      const poll = addon().pollStart(fd, POLL_READABLE, () => {
        let restarts: number | undefined;
        try {
          restarts = takeGreeting(fd);
        } catch (error) {
          addon().pollStop(poll);
          closeFd(fd);
          reject(error);
          return;
        }
        if (restarts === undefined) return;
        addon().pollStop(poll);
        resolve(new InitClient(fd, restarts));
      });
    });
  }

  /** Starts a process; settles when exec has succeeded. Rejects with SpawnError, or RangeError for a spec that has no encoding. */
  spawn(token: bigint, spec: SpawnSpec, fds: SpawnDescriptors): Promise<{ pid: number }> {
    let request: Packet;
    try {
      request = this.#spawnRequest(token, spec, fds);
    } catch (error) {
      for (const fd of fds.stdio) closeFd(fd);
      return Promise.reject(error);
    }
    return new Promise((resolve, reject) => {
      this.#spawning.set(token, { resolve, reject });
      this.#send(request);
    });
  }

  /**
   * Takes over a process that PID 1 has inherited, or will in a moment have: what a container runtime started and left behind.
   * From then on it is like a spawned one: onExit, kill, list (its spec is nothing but `meta`). The descriptors in `kept` (at most
   * 3) stay the caller's. Rejects with SpawnError at stage "adopt": ESRCH when PID 1 has no such child (any more: it may have
   * ended already), EEXIST when the process has a token.
   */
  async adopt(token: bigint, pid: number, given: { meta: string; kept: number[] }): Promise<void> {
    this.#assertFree(token);
    const request = adoptPacket(token, pid, given);
    await new Promise<{ pid: number }>((resolve, reject) => {
      this.#spawning.set(token, { resolve, reject });
      this.#send(request);
    });
  }

  /** Sends a signal to the process, or to its group. ESRCH (to onError) when it has been reaped. */
  kill(token: bigint, signal: number, options: { group?: boolean } = {}): void {
    this.#request({ type: TYPE.kill, token, arg: signal, flags: options.group ? KILL_GROUP : 0 });
  }

  /** PID 1 closes its duplicate of kept[index]: stdin's EOF needs that. EBADF (to onError) when it has none. */
  dropKept(token: bigint, index: number): void {
    this.#request({ type: TYPE.dropKept, token, arg: index });
  }

  /** Forgets a process that has exited, and closes what was kept. EBUSY (to onError) when it has not exited. */
  release(token: bigint): void {
    this.#request({ type: TYPE.release, token });
  }

  /**
   * All that PID 1 knows; for a start after a restart. An exit that came before is in its record; a later one comes to onExit,
   * after this has settled. One list at a time.
   */
  list(): Promise<InitRecord[]> {
    if (this.#listing) return Promise.reject(new Error("a list is under way already"));
    return new Promise((resolve, reject) => {
      this.#request({ type: TYPE.list });
      this.#listing = { resolve, reject, records: [] };
    });
  }

  /** SIGTERM to the group of every process, SIGKILL to all when they have ended or the grace is over, then power off. */
  powerOff(graceMs: number): void {
    this.#request({ type: TYPE.powerOff, arg: graceMs });
  }

  /** Closes the control socket. PID 1 takes that for the agent's end: it kills it and starts it again. */
  close(): void {
    if (!this.#open) return;
    this.#exits = [];
    this.#end(new Error("the connection to PID 1 was closed"));
  }

  #spawnRequest(token: bigint, spec: SpawnSpec, fds: SpawnDescriptors): Packet {
    this.#assertFree(token);
    return spawnPacket(token, spec, fds);
  }

  #assertFree(token: bigint): void {
    this.#assertOpen();
    if (this.#spawning.has(token)) throw new SpawnError("request", "EEXIST", constants.errno.EEXIST);
  }

  #request(message: Partial<InitMessage> & { type: number }): void {
    this.#assertOpen();
    this.#send({ bytes: encodeMessage(message), fds: [] });
  }

  #assertOpen(): void {
    if (!this.#open) throw new Error("the connection to PID 1 is closed");
  }

  #send(packet: Packet): void {
    this.#outgoing.push(packet);
    if (this.#outgoing.length === 1) this.#flush();
  }

  #flush(): void {
    for (let packet = this.#outgoing[0]; packet; packet = this.#outgoing[0]) {
      try {
        if (!addon().sendPacket(this.#fd, packet.bytes, packet.fds)) break;
      } catch (error) {
        this.#fail(error);
        return;
      }
      this.#outgoing.shift();
      for (const fd of packet.fds) closeFd(fd);
    }
    addon().pollUpdate(this.#poll, this.#outgoing.length > 0 ? POLL_READABLE | POLL_WRITABLE : POLL_READABLE);
  }

  #onReady(error: Error | undefined, events: number): void {
    if (error) {
      this.#fail(error);
      return;
    }
    if (events & POLL_WRITABLE) this.#flush();
    for (let i = 0; i < PACKETS_PER_TURN && this.#open; i++) {
      try {
        const packet = addon().receivePacket(this.#fd, this.#packet);
        if (!packet) return;
        if (packet.length === 0) throw new Error("PID 1 has closed the connection");
        this.#take(decodeMessage(this.#packet.subarray(0, packet.length)), packet.fds);
      } catch (failure) {
        this.#fail(failure);
        return;
      }
    }
  }

  /** Throws when PID 1 breaks the protocol. The owner's handlers are called elsewhere, so that their errors are theirs. */
  #take(message: InitMessage, fds: number[]): void {
    const { type, token, pid } = message;
    if (type === TYPE.record && this.#listing) {
      this.#listing.records.push(readRecord(message, fds));
      return;
    }
    for (const fd of fds) closeFd(fd);
    if (type === TYPE.spawned) {
      this.#settleSpawn(token, (pending) => pending.resolve({ pid }));
    } else if (type === TYPE.spawnFailed) {
      const error = new SpawnError(STAGES[message.flags - 1] ?? "request", nameOf(message.arg), message.arg);
      this.#settleSpawn(token, (pending) => pending.reject(error));
    } else if (type === TYPE.exited) {
      this.#exits.push({ token, pid, ...exitOf(message) });
    } else if (type === TYPE.error) {
      this.#requestFailed(message);
    } else if (type === TYPE.listEnd && this.#listing) {
      this.#listing.resolve(this.#listing.records);
      this.#listing = undefined;
    } else {
      throw new RangeError(`PID 1 sent a message of type ${type}, which nobody asked for`);
    }
    this.#scheduleExits();
  }

  #settleSpawn(token: bigint, settle: (pending: Pending<{ pid: number }>) => void): void {
    const pending = this.#spawning.get(token);
    this.#spawning.delete(token);
    if (pending) settle(pending);
  }

  #requestFailed(message: InitMessage): void {
    const { token, arg: errno } = message;
    const code = nameOf(errno);
    if (message.flags === TYPE.spawn || message.flags === TYPE.adopt) {
      this.#settleSpawn(token, (pending) => pending.reject(new SpawnError("request", code, errno)));
    } else {
      const request = REQUEST_NAMES[message.flags] ?? "unknown";
      queueMicrotask(() => this.onError({ token, request, errno, code }));
    }
  }

  /** In a turn of their own, so that who awaits spawn() or list() knows the process before it hears of its exit. */
  #scheduleExits(): void {
    if (this.#exitsScheduled || this.#listing || this.#exits.length === 0) return;
    this.#exitsScheduled = true;
    setImmediate(() => {
      this.#exitsScheduled = false;
      if (this.#listing) return;
      for (let exit = this.#exits.shift(); exit; exit = this.#exits.shift()) this.onExit(exit);
    });
  }

  #fail(thrown: unknown): void {
    if (!this.#open) return;
    const reason = thrown instanceof Error ? thrown : new Error(String(thrown));
    this.#end(reason);
    this.onClose(reason);
  }

  #end(reason: Error): void {
    this.#open = false;
    addon().pollStop(this.#poll);
    closeFd(this.#fd);
    for (const packet of this.#outgoing.splice(0)) for (const fd of packet.fds) closeFd(fd);
    const spawning = [...this.#spawning.values()];
    this.#spawning.clear();
    for (const pending of spawning) pending.reject(reason);
    const listing = this.#listing;
    this.#listing = undefined;
    for (const record of listing?.records ?? []) closeKept(record);
    listing?.reject(reason);
  }
}

/** ZI_HELLO: how often the agent was restarted; undefined when it has not come yet. */
function takeGreeting(fd: number): number | undefined {
  const bytes = Buffer.alloc(MESSAGE_BYTES);
  const packet = addon().receivePacket(fd, bytes);
  if (!packet) return undefined;
  if (packet.length === 0) throw new Error("PID 1 has closed the connection");
  const hello = decodeMessage(bytes.subarray(0, packet.length));
  if (hello.type !== TYPE.hello || hello.arg !== PROTOCOL_VERSION) {
    throw new Error(
      `PID 1 speaks version ${hello.arg} (message ${hello.type}); this agent speaks version ${PROTOCOL_VERSION}`,
    );
  }
  return hello.flags;
}

/** An errno's name. libuv's own table (getSystemErrorName) lacks some, ENOEXEC for one. */
function nameOf(errno: number): string {
  return Object.entries(constants.errno).find(([, value]) => value === errno)?.[0] ?? `errno ${errno}`;
}
