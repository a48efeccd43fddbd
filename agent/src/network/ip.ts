import { isIPv4, isIPv6 } from "node:net";
import { AF } from "./netlink/constants.js";

/** An address as the kernel has it: 4 or 16 bytes. */
export interface IpAddress {
  readonly family: typeof AF.INET | typeof AF.INET6;
  readonly bytes: Buffer;
}

/** An address with the length of its prefix in bits. */
export interface IpPrefix extends IpAddress {
  readonly length: number;
}

/** Undefined when the text is no address. A scope ("%eth0") is none of an address's own. */
export function parseAddress(text: string): IpAddress | undefined {
  if (isIPv4(text)) return { family: AF.INET, bytes: Buffer.from(text.split(".").map(Number)) };
  if (!isIPv6(text) || text.includes("%")) return undefined;
  const dotted = /^(.*:)(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(text);
  if (dotted) {
    const [, head = "", ...parts] = dotted;
    const [a = 0, b = 0, c = 0, d = 0] = parts.map(Number);
    return parseAddress(`${head}${(a * 256 + b).toString(16)}:${(c * 256 + d).toString(16)}`);
  }
  const [head = "", tail] = text.split("::");
  const groups = (part: string) => (part === "" ? [] : part.split(":").map((group) => Number.parseInt(group, 16)));
  const [left, right] = [groups(head), tail === undefined ? [] : groups(tail)];
  const all = [...left, ...Array<number>(8 - left.length - right.length).fill(0), ...right];
  const bytes = Buffer.alloc(16);
  for (const [index, group] of all.entries()) bytes.writeUInt16BE(group, index * 2);
  return { family: AF.INET6, bytes };
}

/** "10.0.2.15/24"; undefined also when there is no prefix. */
export function parsePrefix(text: string): IpPrefix | undefined {
  const [, address = "", length = ""] = /^(.+)\/(\d{1,3})$/.exec(text) ?? [];
  const parsed = parseAddress(address);
  if (!parsed || Number(length) > parsed.bytes.length * 8) return undefined;
  return { ...parsed, length: Number(length) };
}

/** The text of 4 or 16 bytes; RFC 5952 for IPv6. */
export function formatAddress(bytes: Buffer): string {
  if (bytes.length === 4) return [...bytes].join(".");
  if (bytes.length !== 16) throw new RangeError(`an address of ${bytes.length} bytes`);
  if (bytes.subarray(0, 12).equals(MAPPED)) return `::ffff:${formatAddress(bytes.subarray(12))}`;
  const groups = Array.from({ length: 8 }, (_, index) => bytes.readUInt16BE(index * 2));
  const { start, length } = longestZeros(groups);
  const hex = (part: number[]) => part.map((group) => group.toString(16)).join(":");
  if (length < 2) return hex(groups);
  return `${hex(groups.slice(0, start))}::${hex(groups.slice(start + length))}`;
}

export function formatPrefix({ bytes, length }: Pick<IpPrefix, "bytes" | "length">): string {
  return `${formatAddress(bytes)}/${length}`;
}

/** fe80::/10 and 169.254.0.0/16. */
export function isLinkLocal(bytes: Buffer): boolean {
  const first = bytes.readUInt16BE(0);
  return bytes.length === 4 ? first === 0xa9fe : (first & 0xffc0) === 0xfe80;
}

/** Of no host: 0.0.0.0, ::, multicast, 255.255.255.255. */
export function isNoHost({ family, bytes }: IpAddress): boolean {
  if (bytes.every((byte) => byte === 0)) return true;
  const first = bytes[0] ?? 0;
  if (family === AF.INET6) return first === 0xff;
  return (first & 0xf0) === 0xe0 || bytes.every((byte) => byte === 0xff);
}

/** The prefix with the bits after it cleared. */
export function networkOf({ family, bytes, length }: IpPrefix): IpPrefix {
  return { family, length, bytes: maskedWith(bytes, length, (byte, mask) => byte & mask) };
}

/** The last address of an IPv4 network. */
export function broadcastOf({ bytes, length }: IpPrefix): Buffer {
  return maskedWith(bytes, length, (byte, mask) => byte | (~mask & 0xff));
}

function maskedWith(bytes: Buffer, length: number, apply: (byte: number, mask: number) => number): Buffer {
  return Buffer.from(
    bytes.map((byte, index) => apply(byte, (0xff00 >> Math.min(8, Math.max(0, length - index * 8))) & 0xff)),
  );
}

const MAPPED = Buffer.from("00000000000000000000ffff", "hex");

function longestZeros(groups: readonly number[]): { start: number; length: number } {
  let best = { start: 0, length: 0 };
  for (let start = 0; start < groups.length; start++) {
    let length = 0;
    while (groups[start + length] === 0) length++;
    if (length > best.length) best = { start, length };
  }
  return best;
}
