import { addon, POLL_READABLE, type PollHandle } from "./addon.js";
import { closeFd } from "./descriptors.js";

/** Protocols of netlink(7). */
export const NETLINK = { ROUTE: 0, SOCK_DIAG: 4, AUDIT: 9, NETFILTER: 12, KOBJECT_UEVENT: 15, GENERIC: 16 } as const;

/** More than the largest datagram of the kernel's dumps (32 KiB), af_netlink.c. */
const DATAGRAM_BYTES = 64 * 1024;
/** Datagrams taken in one turn of the event loop. */
const DATAGRAMS_PER_TURN = 64;

/**
 * A netlink socket: whole datagrams, undecoded, of the kernel only. Extended acknowledgements are on (NETLINK_EXT_ACK); on
 * NETLINK_ROUTE so is strict checking (NETLINK_GET_STRICT_CHK), so that a filter of a dump is obeyed or refused, not ignored.
 * Acknowledgements carry the request that they answer (no NETLINK_CAP_ACK). netlink(7).
 */
export class NetlinkSocket {
  /** One datagram: one or more messages of nlmsghdr. The buffer is the receiver's to keep. */
  onMessage: (datagram: Buffer) => void = () => {};
  /** The kernel dropped messages because the socket's buffer was full (ENOBUFS): what was learned from events may be stale, answers may be missing. It drops all until what it kept has been read. */
  onOverrun: () => void = () => {};
  /** Anything else that recvmsg(2) says; the socket is closed then. */
  onError: (error: Error) => void = (error) => {
    throw error;
  };
  readonly #fd: number;
  readonly #buffer = Buffer.allocUnsafeSlow(DATAGRAM_BYTES);
  readonly #poll: PollHandle;
  #open = true;

  private constructor(fd: number) {
    this.#fd = fd;
    this.#poll = addon().pollStart(fd, POLL_READABLE, (error) => {
      this.#receive();
      // libuv takes POLLERR, which is how an overrun shows, for EBADF and stops polling; what recvmsg(2) says is the truth.
      if (error && this.#open) addon().pollUpdate(this.#poll, POLL_READABLE);
    });
  }

  /** `groups` is the mask of nl_groups (the first 32 multicast groups, RTMGRP_*). EPROTONOSUPPORT when the kernel lacks the protocol. */
  static open(protocol: number, groups = 0): NetlinkSocket {
    const fd = addon().netlinkOpen(protocol, groups);
    try {
      return new NetlinkSocket(fd);
    } catch (error) {
      closeFd(fd);
      throw error;
    }
  }

  /** Sends one datagram to the kernel, which acts on it before this returns. Its answers come to onMessage. EAGAIN never waits. */
  send(message: Uint8Array): void {
    if (!this.#open) throw closedError();
    addon().netlinkSend(this.#fd, message);
  }

  /** Idempotent. No callback follows. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    addon().pollStop(this.#poll);
    closeFd(this.#fd);
  }

  #receive(): void {
    for (let i = 0; i < DATAGRAMS_PER_TURN && this.#open; i++) {
      let length: number | undefined;
      try {
        length = addon().netlinkReceive(this.#fd, this.#buffer);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === "ENOBUFS") this.onOverrun();
        else this.#fail(error);
        continue;
      }
      if (length === undefined) return;
      // 0: somebody else's datagram, not the kernel's.
      if (length > 0) this.onMessage(Buffer.from(this.#buffer.subarray(0, length)));
    }
  }

  #fail(error: unknown): void {
    this.close();
    this.onError(error instanceof Error ? error : new Error(String(error)));
  }
}

function closedError(): Error {
  return Object.assign(new Error("EBADF: the netlink socket is closed, sendto"), {
    code: "EBADF",
    errno: -9,
    syscall: "sendto",
  });
}
