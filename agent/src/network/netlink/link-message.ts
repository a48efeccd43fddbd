import {
  type Attribute,
  decodeAttributes,
  encodeAttributes,
  NetlinkFormatError,
  need,
  readText,
  readU32,
  text,
  u32,
} from "./attributes.js";
import { IFF, IFLA } from "./constants.js";

/** struct ifinfomsg: u8 family, u8 pad, u16 type, s32 index, u32 flags, u32 change. */
const HEADER_BYTES = 16;
/** Of struct rtnl_link_stats64, what is read. */
const STATS_BYTES = 64;

/** A network device. */
export interface LinkRecord {
  index: number;
  name: string;
  /** 6 bytes for Ethernet; empty when the device has none. */
  hardwareAddress: Buffer;
  mtu: number;
  /** 0 when there is no limit. */
  mtuMin: number;
  mtuMax: number;
  up: boolean;
  running: boolean;
  loopback: boolean;
  stats: LinkStats;
}

export interface LinkStats {
  receivedPackets: bigint;
  sentPackets: bigint;
  receivedBytes: bigint;
  sentBytes: bigint;
  droppedPackets: bigint;
}

/** The body of a dump's request. */
export const LINK_DUMP = Buffer.alloc(HEADER_BYTES);

/** Decodes RTM_NEWLINK. NetlinkFormatError. */
export function decodeLink(body: Buffer): LinkRecord {
  if (body.length < HEADER_BYTES) throw new NetlinkFormatError(`a link of ${body.length} bytes`);
  const flags = body.readUInt32LE(8);
  const attributes = decodeAttributes(body.subarray(HEADER_BYTES));
  const stats = need(attributes, IFLA.STATS64, STATS_BYTES);
  const counter = (index: number) => stats?.readBigUInt64LE(index * 8) ?? 0n;
  return {
    index: body.readInt32LE(4),
    name: readText(attributes, IFLA.IFNAME) ?? "",
    hardwareAddress: Buffer.from(attributes.get(IFLA.ADDRESS) ?? []),
    mtu: readU32(attributes, IFLA.MTU) ?? 0,
    mtuMin: readU32(attributes, IFLA.MIN_MTU) ?? 0,
    mtuMax: readU32(attributes, IFLA.MAX_MTU) ?? 0,
    up: (flags & IFF.UP) !== 0,
    running: (flags & IFF.LOWER_UP) !== 0,
    loopback: (flags & IFF.LOOPBACK) !== 0,
    stats: {
      receivedPackets: counter(0),
      sentPackets: counter(1),
      receivedBytes: counter(2),
      sentBytes: counter(3),
      droppedPackets: counter(6) + counter(7),
    },
  };
}

/** What of a link is to change. */
export interface LinkChange {
  up?: boolean;
  mtu?: number;
  name?: string;
  hardwareAddress?: Buffer;
}

/** The body of RTM_NEWLINK for a link that is there. */
export function encodeLinkChange(index: number, change: LinkChange): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeInt32LE(index, 4);
  if (change.up !== undefined) {
    header.writeUInt32LE(change.up ? IFF.UP : 0, 8);
    header.writeUInt32LE(IFF.UP, 12);
  }
  const attributes: Attribute[] = [];
  if (change.mtu !== undefined) attributes.push([IFLA.MTU, u32(change.mtu)]);
  if (change.name !== undefined) attributes.push([IFLA.IFNAME, text(change.name)]);
  if (change.hardwareAddress !== undefined) attributes.push([IFLA.ADDRESS, change.hardwareAddress]);
  return Buffer.concat([header, encodeAttributes(attributes)]);
}
