import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parsePrefix } from "../ip.js";
import { decodeIpAddress, newAddress } from "./address-message.js";
import { type Attribute, align, decodeAttributes, encodeAttributes, NetlinkFormatError, u32 } from "./attributes.js";
import { NLM_F, NLMSG, RTN_UNICAST } from "./constants.js";
import { decodeLink, encodeLinkChange } from "./link-message.js";
import { decodeAcknowledgement, decodeMessages, encodeMessage } from "./messages.js";
import { decodeNeighbour, encodeNeighbour } from "./neighbour-message.js";
import { decodeRoute, encodeRoute } from "./route-message.js";

const buffer = (max: number) => fc.uint8Array({ maxLength: max }).map((bytes) => Buffer.from(bytes));
const attribute = fc.tuple(fc.nat(0x3fff), buffer(64)) as fc.Arbitrary<Attribute>;

/** Runs a decoder on anything: it gives something, or says that it is malformed. */
function total(decode: (bytes: Buffer) => unknown): void {
  /** Bytes that are nearly right: attributes behind a header, cut or with one byte changed. */
  const nearly = fc
    .tuple(buffer(16), fc.array(attribute, { maxLength: 6 }), fc.nat(400), fc.nat(400), fc.nat(255), fc.boolean())
    .map(([header, attributes, cut, place, value, cutIt]) => {
      const bytes = Buffer.concat([Buffer.concat([header, Buffer.alloc(16)], 16), encodeAttributes(attributes)]);
      if (cutIt) return bytes.subarray(0, cut % (bytes.length + 1));
      bytes[place % bytes.length] = value;
      return bytes;
    });
  fc.assert(
    fc.property(fc.oneof(buffer(300), nearly), (bytes) => {
      try {
        decode(bytes);
      } catch (error) {
        expect(error).toBeInstanceOf(NetlinkFormatError);
      }
    }),
    { numRuns: 2000 },
  );
}

const route = (bytes: Buffer) => {
  // Of the main table, to somewhere: the part that is decoded wholly.
  if (bytes.length > 12) {
    bytes[0] = (bytes[0] ?? 0) & 1 ? 2 : 10;
    bytes[4] = 254;
    bytes[7] = RTN_UNICAST;
    bytes.writeUInt32LE(0, 8);
  }
  return decodeRoute(bytes);
};
const ofFamily = (decode: (bytes: Buffer) => unknown) => (bytes: Buffer) => {
  if (bytes.length > 0) bytes[0] = (bytes[0] ?? 0) & 1 ? 2 : 10;
  return decode(bytes);
};

describe("whatever comes, decoders give a result or a NetlinkFormatError", () => {
  it.each<[string, (bytes: Buffer) => unknown]>([
    ["attributes", decodeAttributes],
    ["messages", decodeMessages],
    [
      "acknowledgements",
      (body) => decodeAcknowledgement({ type: NLMSG.ERROR, flags: NLM_F.ACK_TLVS, sequence: 1, body }),
    ],
    [
      "capped acknowledgements",
      (body) => decodeAcknowledgement({ type: NLMSG.ERROR, flags: 0x300, sequence: 1, body }),
    ],
    ["ends of dumps", (body) => decodeAcknowledgement({ type: NLMSG.DONE, flags: NLM_F.ACK_TLVS, sequence: 1, body })],
    ["links", decodeLink],
    ["addresses", ofFamily(decodeIpAddress)],
    ["routes", route],
    ["neighbours", ofFamily(decodeNeighbour)],
  ])("%s", (_, decode) => total(decode));
});

describe("what is encoded is decoded again", () => {
  it("attributes: the last of each type, aligned to four bytes", () => {
    fc.assert(
      fc.property(fc.array(attribute, { maxLength: 20 }), (attributes) => {
        const bytes = encodeAttributes(attributes);
        expect(bytes.length % 4).toBe(0);
        expect(decodeAttributes(bytes)).toEqual(new Map(attributes.map(([type, value]) => [type, Buffer.from(value)])));
      }),
    );
    expect(() => encodeAttributes([[1, Buffer.alloc(0xfffc)]])).toThrow(RangeError);
  });

  it("messages, several to a datagram", () => {
    const message = fc.record({ type: fc.nat(0xffff), flags: fc.nat(0xffff), sequence: fc.nat(), body: buffer(60) });
    fc.assert(
      fc.property(fc.array(message, { maxLength: 5 }), (messages) => {
        expect(decodeMessages(Buffer.concat(messages.map(encodeMessage)))).toEqual(messages);
      }),
    );
  });

  it("addresses, routes, neighbours and links", () => {
    const prefix = parsePrefix("fd00::1/64");
    const other = parsePrefix("10.0.0.0/8");
    if (!prefix || !other) throw new Error("no prefixes");
    expect(decodeIpAddress(newAddress(3, prefix).request)).toMatchObject({ ...prefix, linkIndex: 3 });
    expect(decodeNeighbour(encodeNeighbour(4, prefix, Buffer.alloc(6, 1)))).toMatchObject({
      ...{ linkIndex: 4, bytes: prefix.bytes, state: "permanent" },
    });
    const goal = {
      destination: other,
      gateway: Buffer.from([10, 0, 0, 1]),
      linkIndex: 5,
      metric: 9,
      source: undefined,
    };
    expect(decodeRoute(encodeRoute(goal))).toMatchObject(goal);
    expect(decodeLink(encodeLinkChange(6, { up: true, mtu: 1400, name: "eth0" }))).toMatchObject({
      ...{ index: 6, up: true, mtu: 1400, name: "eth0" },
    });
  });

  it("an acknowledgement with the kernel's words behind the request that it repeats", () => {
    const request = encodeMessage({ type: 24, flags: 5, sequence: 7, body: Buffer.alloc(13) });
    const words = encodeAttributes([
      [1, Buffer.from("Invalid prefix\0")],
      [2, u32(20)],
    ]);
    const errno = Buffer.from(Int32Array.of(-22).buffer);
    const whole = Buffer.concat([errno, request, words]);
    const acknowledgement = { type: NLMSG.ERROR, flags: NLM_F.ACK_TLVS, sequence: 7, body: whole };
    expect(decodeAcknowledgement(acknowledgement)).toEqual({ errno: 22, text: "Invalid prefix" });
    const capped = { ...acknowledgement, flags: 0x300, body: Buffer.concat([errno, request.subarray(0, 16), words]) };
    expect(decodeAcknowledgement(capped)).toEqual({ errno: 22, text: "Invalid prefix" });
    expect(align(13)).toBe(16);
  });
});
