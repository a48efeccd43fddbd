import { endianness, networkInterfaces } from "node:os";
import { afterEach, describe, expect, it } from "vitest";
import { NETLINK, NetlinkSocket } from "./netlink.js";
import { caught } from "./testing/caught.js";

/** <linux/rtnetlink.h>, <linux/netlink.h>. */
const RTM_NEWLINK = 16;
const RTM_GETLINK = 18;
const RTM_GETADDR = 22;
const NLMSG_ERROR = 2;
const NLMSG_DONE = 3;
const NLM_F_REQUEST = 1;
const NLM_F_ACK = 4;
const NLM_F_DUMP = 0x300;
const NLM_F_ACK_TLVS = 0x200;
const IFLA_IFNAME = 3;

function request(type: number, flags: number, sequence: number, body: Buffer): Buffer {
  const header = Buffer.alloc(16);
  header.writeUInt32LE(16 + body.length, 0);
  header.writeUInt16LE(type, 4);
  header.writeUInt16LE(flags, 6);
  header.writeUInt32LE(sequence, 8);
  return Buffer.concat([header, body]);
}

interface Message {
  type: number;
  flags: number;
  sequence: number;
  body: Buffer;
}

function* messages(datagram: Buffer): Generator<Message> {
  for (let at = 0; at + 16 <= datagram.length; ) {
    const length = datagram.readUInt32LE(at);
    expect(length).toBeGreaterThanOrEqual(16);
    yield {
      type: datagram.readUInt16LE(at + 4),
      flags: datagram.readUInt16LE(at + 6),
      sequence: datagram.readUInt32LE(at + 8),
      body: datagram.subarray(at + 16, at + length),
    };
    at += (length + 3) & ~3;
  }
}

/** The name in an ifinfomsg's attributes. */
function linkName(body: Buffer): string {
  for (let at = 16; at + 4 <= body.length; at += (body.readUInt16LE(at) + 3) & ~3) {
    const length = body.readUInt16LE(at);
    if (body.readUInt16LE(at + 2) === IFLA_IFNAME) return body.toString("utf8", at + 4, at + length - 1);
  }
  return "";
}

describe.skipIf(endianness() !== "LE")("netlink", { timeout: 60_000 }, () => {
  let socket: NetlinkSocket | undefined;
  afterEach(() => socket?.close());

  /** All messages until one is wanted no more. */
  function collect(on: NetlinkSocket, isLast: (message: Message) => boolean): Promise<Message[]> {
    return new Promise((resolve, reject) => {
      const all: Message[] = [];
      on.onError = reject;
      on.onMessage = (datagram) => {
        for (const message of messages(datagram)) {
          all.push(message);
          if (isLast(message)) resolve(all);
        }
      };
    });
  }

  it("asks the kernel for its links", async () => {
    socket = NetlinkSocket.open(NETLINK.ROUTE);
    const answers = collect(socket, ({ type }) => type === NLMSG_DONE || type === NLMSG_ERROR);
    socket.send(request(RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP, 7, Buffer.alloc(16)));
    const links = (await answers).filter(({ type, sequence }) => type === RTM_NEWLINK && sequence === 7);
    const names = links.map(({ body }) => linkName(body));
    expect(names).toContain("lo");
    expect(names).toEqual(expect.arrayContaining(Object.keys(networkInterfaces())));
  });

  it("brings errors with what the kernel says of them", async () => {
    socket = NetlinkSocket.open(NETLINK.ROUTE);
    const refused = collect(socket, ({ type }) => type === NLMSG_DONE || type === NLMSG_ERROR);
    // Strict checking: a dump with a header that is too short is refused with a text, not answered as if it were whole.
    socket.send(request(RTM_GETADDR, NLM_F_REQUEST | NLM_F_DUMP | NLM_F_ACK, 9, Buffer.alloc(4)));
    const error = (await refused).at(-1);
    expect(error?.sequence).toBe(9);
    expect(error?.body.readInt32LE(0)).toBe(-22);
    expect((error?.flags ?? 0) & NLM_F_ACK_TLVS).toBe(NLM_F_ACK_TLVS);
    expect(error?.body.toString("latin1")).toMatch(/[Ii]nvalid header/);
  });

  it("keeps requests and answers in order, many at once", async () => {
    socket = NetlinkSocket.open(NETLINK.ROUTE);
    const count = 200;
    const answers = collect(socket, ({ sequence }) => sequence === count);
    const body = Buffer.alloc(16);
    body.writeInt32LE(1, 4);
    for (let i = 1; i <= count; i++) socket.send(request(RTM_GETLINK, NLM_F_REQUEST, i, body));
    expect((await answers).map(({ sequence }) => sequence)).toEqual(Array.from({ length: count }, (_, i) => i + 1));
  });

  it("tells when the kernel had to drop something", async () => {
    const mine = NetlinkSocket.open(NETLINK.ROUTE);
    socket = mine;
    const overrun = new Promise<void>((resolve) => {
      mine.onOverrun = resolve;
    });
    const body = Buffer.alloc(16);
    body.writeInt32LE(1, 4);
    const question = request(RTM_GETLINK, NLM_F_REQUEST, 1, body);
    // Nobody reads while this loop runs: the answers fill the buffer of 1 MiB (doubled by the kernel), and more.
    for (let i = 0; i < 10_000; i++) mine.send(question);
    await overrun;
    // It is of use again once all that was kept has been read: the kernel drops answers until then.
    await new Promise<void>((resolve) => {
      mine.onMessage = (datagram) => {
        for (const { sequence } of messages(datagram)) {
          if (sequence === 1) mine.send(request(RTM_GETLINK, NLM_F_REQUEST, 2, body));
          else resolve();
        }
      };
    });
  });

  it("is closed once, and says what it cannot open", () => {
    socket = NetlinkSocket.open(NETLINK.KOBJECT_UEVENT, 1);
    socket.close();
    socket.close();
    expect(caught(() => socket?.send(Buffer.alloc(16)))).toMatchObject({ code: "EBADF" });
    expect(caught(() => NetlinkSocket.open(40))).toMatchObject({ code: "EPROTONOSUPPORT" });
    expect(caught(() => NetlinkSocket.open(-1))).toMatchObject({ code: "ERR_OUT_OF_RANGE" });
  });
});
