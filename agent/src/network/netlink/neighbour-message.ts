import type { IpAddress } from "../ip.js";
import { type Attribute, decodeAttributes, encodeAttributes, NetlinkFormatError, need } from "./attributes.js";
import { AF, NDA, NUD_NOARP, NUD_PERMANENT } from "./constants.js";
import { familyOf } from "./family.js";

/** struct ndmsg: u8 family, u8 pad, u16 pad, s32 index, u16 state, u8 flags, u8 type. */
const HEADER_BYTES = 12;

/** NUD_*, <linux/neighbour.h>, by their names in ip-neighbour(8). */
const STATES: readonly (readonly [bit: number, name: string])[] = [
  [0x01, "incomplete"],
  [0x02, "reachable"],
  [0x04, "stale"],
  [0x08, "delay"],
  [0x10, "probe"],
  [0x20, "failed"],
  [NUD_NOARP, "noarp"],
  [NUD_PERMANENT, "permanent"],
];

/** Who has an address on a link. */
export interface NeighbourRecord extends IpAddress {
  linkIndex: number;
  /** Empty when it is not known. */
  hardwareAddress: Buffer;
  state: string;
}

/** The body of a dump's request. */
export const NEIGHBOUR_DUMP = Buffer.alloc(HEADER_BYTES);

/**
 * Decodes RTM_NEWNEIGH; undefined when it is no IP neighbour, or one that needs no resolving (multicast groups, the loopback),
 * which ip(8) does not show either. NetlinkFormatError.
 */
export function decodeNeighbour(body: Buffer): NeighbourRecord | undefined {
  if (body.length < HEADER_BYTES) throw new NetlinkFormatError(`a neighbour of ${body.length} bytes`);
  const family = familyOf(body.readUInt8(0));
  const state = body.readUInt16LE(8);
  if (family === undefined || state & NUD_NOARP) return undefined;
  const attributes = decodeAttributes(body.subarray(HEADER_BYTES));
  const size = family === AF.INET ? 4 : 16;
  const bytes = need(attributes, NDA.DST, size);
  if (!bytes) throw new NetlinkFormatError("a neighbour without an address");
  return {
    family,
    bytes: Buffer.from(bytes.subarray(0, size)),
    linkIndex: body.readInt32LE(4),
    hardwareAddress: Buffer.from(attributes.get(NDA.LLADDR) ?? []),
    state: STATES.find(([bit]) => state & bit)?.[1] ?? "none",
  };
}

/** The body of RTM_NEWNEIGH, or, without a hardware address, of RTM_DELNEIGH. */
export function encodeNeighbour(linkIndex: number, { family, bytes }: IpAddress, hardwareAddress?: Buffer): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt8(family, 0);
  header.writeInt32LE(linkIndex, 4);
  const attributes: Attribute[] = [[NDA.DST, bytes]];
  if (hardwareAddress) {
    header.writeUInt16LE(NUD_PERMANENT, 8);
    attributes.push([NDA.LLADDR, hardwareAddress]);
  }
  return Buffer.concat([header, encodeAttributes(attributes)]);
}
