import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { NETWORK_LIMITS } from "../limits.js";
import { ZoneNames } from "../names.js";
import { ZoneNetwork } from "../zone-network.js";
import { NLM_F, NLMSG, RTM } from "./constants.js";
import { LINK_DUMP } from "./link-message.js";
import { decodeMessages, encodeMessage } from "./messages.js";
import { type DatagramSocket, NetlinkError, RouteSocket } from "./route-socket.js";

interface Answer {
  type: number;
  flags?: number;
  body?: Uint8Array;
  sequence?: number;
}

const OK = Buffer.alloc(4);
const errno = (value: number) => Buffer.from(Int32Array.of(-value, 0, 0, 0, 0).buffer);

/** A kernel that answers each request with the next of its answers, which a real one gives only under load. */
class Kernel implements DatagramSocket {
  onMessage: (datagram: Buffer) => void = () => {};
  onOverrun = () => {};
  onError: (error: Error) => void = () => {};
  closed = false;
  sent = 0;
  readonly #script: (Answer[] | "overrun" | "silence")[];

  constructor(...script: (Answer[] | "overrun" | "silence")[]) {
    this.#script = script;
  }

  send(bytes: Uint8Array): void {
    this.sent++;
    const [request] = decodeMessages(Buffer.from(bytes));
    const answers = this.#script.shift() ?? "silence";
    if (answers === "silence") return;
    setImmediate(() => {
      if (answers === "overrun") return this.onOverrun();
      for (const { type, flags = 0, body = OK, sequence = request?.sequence ?? 0 } of answers) {
        this.onMessage(encodeMessage({ type, flags, sequence, body }));
      }
    });
  }

  close(): void {
    this.closed = true;
  }
}

const ENTRY: Answer = { type: RTM.NEWLINK, flags: NLM_F.MULTI, body: Buffer.alloc(16) };
const DONE: Answer = { type: NLMSG.DONE, flags: NLM_F.MULTI };

describe("a dump", () => {
  it("is made again while the kernel says that it was interrupted, or lost something", async () => {
    const interrupted = { ...ENTRY, flags: NLM_F.MULTI | NLM_F.DUMP_INTR };
    const kernel = new Kernel([interrupted, ENTRY, DONE], "overrun", [{ type: NLMSG.OVERRUN }], [ENTRY, DONE]);
    await expect(new RouteSocket(kernel).dump(RTM.GETLINK, LINK_DUMP)).resolves.toHaveLength(1);
    expect(kernel.sent).toBe(4);
  });

  it("is given up when that does not end", async () => {
    const done = { ...DONE, flags: NLM_F.MULTI | NLM_F.DUMP_INTR };
    const kernel = new Kernel(...Array<Answer[]>(NETWORK_LIMITS.dumpAttempts).fill([ENTRY, done]));
    await expect(new RouteSocket(kernel).dump(RTM.GETLINK, LINK_DUMP)).rejects.toMatchObject({ code: "EINTR" });
  });

  it("takes no answers of another request, and fails with the kernel's errno", async () => {
    const stray = { ...ENTRY, sequence: 999 };
    const kernel = new Kernel([stray, ENTRY, { type: NLMSG.NOOP }, DONE], [{ type: NLMSG.DONE, body: errno(95) }]);
    const socket = new RouteSocket(kernel);
    await expect(socket.dump(RTM.GETLINK, LINK_DUMP)).resolves.toHaveLength(1);
    await expect(socket.dump(RTM.GETLINK, LINK_DUMP)).rejects.toMatchObject({ code: "ENOTSUP" });
  });

  it("of more entries than are kept fails", async () => {
    const kernel = new Kernel([...Array<Answer>(NETWORK_LIMITS.dumpMessages + 1).fill(ENTRY), DONE]);
    await expect(new RouteSocket(kernel).dump(RTM.GETLINK, LINK_DUMP)).rejects.toMatchObject({ code: "E2BIG" });
  });
});

describe("requests", () => {
  it("are made one after the other, and one that fails does not stop the next", async () => {
    const kernel = new Kernel([{ type: NLMSG.ERROR, body: errno(17) }], [{ type: NLMSG.ERROR, body: errno(0) }]);
    const socket = new RouteSocket(kernel);
    const [first, second] = [socket.request(RTM.NEWLINK, 0, LINK_DUMP), socket.request(RTM.NEWLINK, 0, LINK_DUMP)];
    expect(kernel.sent).toBeLessThan(2);
    await expect(first).rejects.toBeInstanceOf(NetlinkError);
    await expect(first).rejects.toMatchObject({ code: "EEXIST" });
    await expect(second).resolves.toBeUndefined();
  });

  it("fail when the answer is malformed, when it was lost, and when the socket is closed", async () => {
    const kernel = new Kernel([{ type: NLMSG.ERROR, body: Buffer.alloc(2) }], "overrun", "silence");
    const socket = new RouteSocket(kernel);
    const request = () => socket.request(RTM.NEWLINK, 0, LINK_DUMP);
    await expect(request()).rejects.toThrow("an acknowledgement of 2 bytes");
    await expect(request()).rejects.toMatchObject({ code: "ENOBUFS" });
    const waiting = request();
    setImmediate(() => socket.close());
    await expect(waiting).rejects.toMatchObject({ code: "ECANCELED" });
    await expect(request()).rejects.toMatchObject({ code: "ECANCELED" });
    expect(kernel.closed).toBe(true);
    expect(socket.closed).toBe(true);
  });

  it("are made by a new socket after one has failed", async () => {
    const kernels = [new Kernel([DONE]), new Kernel([DONE], [DONE])];
    const unused = [...kernels];
    const network = new ZoneNetwork(new ZoneNames(join(tmpdir(), "no-names")), () => {
      const kernel = unused.shift();
      if (!kernel) throw new Error("one socket too many");
      return new RouteSocket(kernel);
    });
    await network.raiseLoopback();
    kernels[0]?.onError(new Error("ENOBUFS"));
    for (let calls = 0; calls < 2; calls++) await network.raiseLoopback();
    expect(kernels.map(({ sent }) => sent)).toEqual([1, 2]);
  });
});
