import { isIP } from "node:net";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  broadcastOf,
  formatAddress,
  formatPrefix,
  isLinkLocal,
  isNoHost,
  networkOf,
  parseAddress,
  parsePrefix,
} from "./ip.js";

const bytes = (length: number) =>
  fc.uint8Array({ minLength: length, maxLength: length }).map((all) => Buffer.from(all));
/** Many zeros, so that "::" stands at every place. */
const sparse = fc
  .array(fc.oneof(fc.constant(0), fc.nat(0xffff)), { minLength: 8, maxLength: 8 })
  .map((groups) => Buffer.concat(groups.map((group) => Buffer.from([group >> 8, group & 0xff]))));

const parse = (text: string) => {
  const prefix = parsePrefix(text);
  if (!prefix) throw new Error(`${text} is no prefix`);
  return prefix;
};

describe("addresses", () => {
  it("are the same after being written and read", () => {
    fc.assert(
      fc.property(fc.oneof(bytes(4), bytes(16), sparse), (address) => {
        const text = formatAddress(address);
        expect(isIP(text)).toBe(address.length === 4 ? 4 : 6);
        expect(parseAddress(text)?.bytes).toEqual(address);
      }),
    );
  });

  it("are read as Node's own parser allows, and no other text", () => {
    fc.assert(
      fc.property(fc.oneof(fc.ipV4(), fc.ipV6(), fc.string(), fc.stringMatching(/^[0-9a-f:.%]{0,20}$/)), (text) => {
        expect(parseAddress(text) !== undefined).toBe(isIP(text) !== 0 && !text.includes("%"));
      }),
    );
  });

  it.each([
    ["1:0:0:2:0:0:0:3", "1:0:0:2::3"],
    ["2001:DB8::0", "2001:db8::"],
    ["::ffff:1.2.3.4", "::ffff:1.2.3.4"],
    ["::FFFF:0102:0304", "::ffff:1.2.3.4"],
    ["0:0:0:0:0:0:0:0", "::"],
    ["1:0:2:3:4:5:6:7", "1:0:2:3:4:5:6:7"],
    ["64:ff9b::192.0.2.1", "64:ff9b::c000:201"],
  ])("%s is written as %s", (text, canonical) => {
    expect(formatAddress(parseAddress(text)?.bytes ?? Buffer.alloc(0))).toBe(canonical);
  });
});

describe("prefixes", () => {
  it.each([
    "10.0.0.1",
    "10.0.0.1/33",
    "::1/129",
    "10.0.0.1/-1",
    "10.0.0.1/",
    "/8",
    "10.0.0.1/8/8",
    "x/8",
    "10.0.0.1/08888",
  ])("%s is none", (text) => expect(parsePrefix(text)).toBeUndefined());

  it.each([
    ["10.1.2.3/8", "10.0.0.0/8", "10.255.255.255"],
    ["10.1.2.3/31", "10.1.2.2/31", "10.1.2.3"],
    ["10.1.2.3/32", "10.1.2.3/32", "10.1.2.3"],
    ["10.1.2.3/0", "0.0.0.0/0", "255.255.255.255"],
    ["10.1.2.3/20", "10.1.0.0/20", "10.1.15.255"],
  ])("%s is of the network %s, whose last address is %s", (text, network, last) => {
    expect(formatPrefix(networkOf(parse(text)))).toBe(network);
    expect(formatAddress(broadcastOf(parse(text)))).toBe(last);
  });

  it("know what is link-local, and what is no host", () => {
    for (const text of ["fe80::1/64", "febf::1/64", "169.254.1.1/16"])
      expect(isLinkLocal(parse(text).bytes)).toBe(true);
    for (const text of ["fec0::1/64", "169.253.1.1/16", "::1/128"]) expect(isLinkLocal(parse(text).bytes)).toBe(false);
    for (const text of ["::/0", "0.0.0.0/0", "ff02::1/8", "239.1.1.1/8", "255.255.255.255/32"]) {
      expect(isNoHost(parse(text))).toBe(true);
    }
    for (const text of ["::1/128", "10.0.0.0/8", "240.0.0.1/8"]) expect(isNoHost(parse(text))).toBe(false);
  });
});
