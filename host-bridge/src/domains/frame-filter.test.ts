import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import type { Socket } from "node:net";
import { closeFd, socketPair, streamFromFd } from "@zone/native";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { hostTool } from "./host-tools.js";

const OWN_4 = "10.0.2.15";
const OWN_6 = "fd00:7a6f:6e65:0000:0000:0000:0000:0015";

/** A frame as it goes over the socket. */
function framed(frame: Buffer): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(frame.length);
  return Buffer.concat([length, frame]);
}

function ethernet(type: number, payload: Buffer): Buffer {
  const header = Buffer.alloc(14);
  header.writeUInt16BE(type, 12);
  return framed(Buffer.concat([header, payload]));
}

function ip4(to: string, from = OWN_4): Buffer {
  const header = Buffer.alloc(28);
  header[0] = 0x45;
  header.set(from.split(".").map(Number), 12);
  header.set(to.split(".").map(Number), 16);
  return ethernet(0x0800, header);
}

/** Addresses in full. */
function ip6(to: string, from = OWN_6, nextHeader = 6): Buffer {
  const header = Buffer.alloc(48);
  header[0] = 0x60;
  header[6] = nextHeader;
  for (const [address, at] of [
    [from, 8],
    [to, 24],
  ] as const)
    header.set(Buffer.from(address.replaceAll(":", ""), "hex"), at);
  return ethernet(0x86dd, header);
}

const arp = ethernet(0x0806, Buffer.alloc(28));

const passing: [string, Buffer][] = [
  ["ARP", arp],
  ["the world", ip4("198.51.100.7")],
  ["a private network of the host's", ip4("192.168.1.1")],
  ["the name server", ip4("10.0.2.3")],
  ["the world by IPv6", ip6("2001:0db8:0000:0000:0000:0000:0000:0001")],
  ["the gateway's discovery", ip6("ff02:0000:0000:0000:0000:0001:ff00:0002", OWN_6, 58)],
  ["the search for its own address", ip6("ff02:0000:0000:0000:0000:0001:ff00:0015", "0".repeat(32), 58)],
];

const dropped: [string, Buffer][] = [
  ["loopback", ip4("127.0.0.1")],
  ["loopback's other addresses", ip4("127.8.9.10")],
  ["this host", ip4("0.0.0.0")],
  ["the cloud's metadata", ip4("169.254.169.254")],
  ["multicast", ip4("224.0.0.251")],
  ["broadcast", ip4("255.255.255.255")],
  ["another source", ip4("198.51.100.7", "198.51.100.8")],
  ["a source of loopback", ip4("198.51.100.7", "127.0.0.1")],
  ["loopback by IPv6", ip6("00000000000000000000000000000001")],
  ["nowhere by IPv6", ip6("0".repeat(32))],
  ["loopback mapped into IPv6", ip6("00000000000000000000ffff7f000001")],
  ["the cloud's metadata by IPv6", ip6("fd000ec2000000000000000000000254")],
  ["a link-local address", ip6("fe800000000000000000000000000001")],
  ["IPv6 multicast", ip6("ff0200000000000000000000000000fb")],
  ["another IPv6 source", ip6("20010db8000000000000000000000001", "20010db8000000000000000000000002")],
  ["a VLAN", ethernet(0x8100, Buffer.alloc(50))],
  ["half a header", ethernet(0x0800, Buffer.from([0x45, 0]))],
  ["a frame without a type", framed(Buffer.alloc(13))],
  ["an empty frame", framed(Buffer.alloc(0))],
  ["IPv6 that says it is IPv4", ethernet(0x0800, Buffer.from(`60${"00".repeat(47)}`, "hex"))],
];

describe("zone-frame-filter", () => {
  let child: ChildProcess;
  let zone: Socket;
  let host: Socket;
  let exited: Promise<unknown[]>;

  beforeEach(() => {
    const [zoneEnd, near] = socketPair();
    const [far, hostEnd] = socketPair();
    child = spawn(hostTool("zone-frame-filter") ?? "", [], { stdio: ["ignore", "inherit", "inherit", near, far] });
    exited = once(child, "exit");
    closeFd(near);
    closeFd(far);
    zone = streamFromFd(zoneEnd, { readable: true, writable: true });
    host = streamFromFd(hostEnd, { readable: true, writable: true });
  });
  afterEach(async () => {
    zone.destroy();
    host.destroy();
    await exited;
  });

  /** What arrives at the host's side up to and with an ARP frame that is sent last. */
  async function through(...frames: Buffer[]): Promise<Buffer> {
    const last = ethernet(0x0806, Buffer.alloc(28, 0xaa));
    for (const frame of [...frames, last]) zone.write(frame);
    let got = Buffer.alloc(0);
    while (got.length < last.length || !got.subarray(-last.length).equals(last)) {
      const [chunk] = (await once(host, "data")) as [Buffer];
      got = Buffer.concat([got, chunk]);
    }
    return got.subarray(0, -last.length);
  }

  it.each(passing)("passes %s", async (_what, frame) => {
    expect(await through(frame)).toEqual(frame);
  });

  it.each(dropped)("drops %s", async (_what, frame) => {
    expect((await through(frame)).length).toBe(0);
  });

  it("keeps order and bytes, however the stream is cut", async () => {
    const all = [...passing, ...dropped].sort(([a], [b]) => (a < b ? -1 : 1));
    const expected = Buffer.concat(all.filter((each) => passing.includes(each)).map(([, frame]) => frame));
    const stream = Buffer.concat(all.map(([, frame]) => frame));
    const cuts = fc.array(fc.integer({ min: 1, max: stream.length }), { maxLength: 20 });
    await fc.assert(
      fc.asyncProperty(cuts, async (positions) => {
        const edges = [0, ...positions.sort((a, b) => a - b), stream.length];
        const pieces = edges.slice(1).map((edge, i) => stream.subarray(edges[i], edge));
        expect((await through(...pieces)).equals(expected)).toBe(true);
      }),
      { numRuns: 30 },
    );
  });

  it("passes whatever the host's side sends", async () => {
    const bytes = Buffer.alloc(1 << 20, "from the host");
    host.write(bytes);
    let got = 0;
    while (got < bytes.length) got += ((await once(zone, "data")) as [Buffer])[0].length;
    expect(got).toBe(bytes.length);
  });

  it("ends with either side", async () => {
    zone.destroy();
    expect(await exited).toEqual([0, null]);
  });

  it("ends when a frame is longer than any can be", async () => {
    zone.on("error", () => {});
    zone.write(Buffer.from([0, 1, 0, 14]));
    expect(await exited).toEqual([1, null]);
  });
});
