import { broadcastOf, type IpPrefix } from "../ip.js";
import { type Attribute, decodeAttributes, encodeAttributes, NetlinkFormatError, readU32, u32 } from "./attributes.js";
import { AF, IFA, IFA_F } from "./constants.js";
import { familyOf } from "./family.js";

/** struct ifaddrmsg: u8 family, u8 prefix length, u8 flags, u8 scope, u32 index. */
const HEADER_BYTES = 8;
/** Flags that say what somebody wants, and not how far the kernel is with it. */
const KEPT_FLAGS = IFA_F.NODAD | IFA_F.MANAGETEMPADDR | IFA_F.NOPREFIXROUTE;
/** Attributes that are sent again when an address is restored. */
const KEPT_ATTRIBUTES = [IFA.ADDRESS, IFA.LOCAL, IFA.LABEL, IFA.BROADCAST, IFA.CACHEINFO];

/** An address of a link. */
export interface AddressRecord extends IpPrefix {
  linkIndex: number;
  scope: number;
  /** The request that adds it: RTM_NEWADDR. */
  request: Buffer;
}

/** The body of a dump's request. */
export const ADDRESS_DUMP = Buffer.alloc(HEADER_BYTES);

/** Decodes RTM_NEWADDR; undefined when it is of another family than IP. NetlinkFormatError. */
export function decodeIpAddress(body: Buffer): AddressRecord | undefined {
  if (body.length < HEADER_BYTES) throw new NetlinkFormatError(`an address of ${body.length} bytes`);
  const family = familyOf(body.readUInt8(0));
  if (family === undefined) return undefined;
  const length = body.readUInt8(1);
  const attributes = decodeAttributes(body.subarray(HEADER_BYTES));
  // IFA_ADDRESS is the peer's on a point-to-point link; IFA_LOCAL is our own, which IPv6 leaves out where they are the same.
  const bytes = attributes.get(IFA.LOCAL) ?? attributes.get(IFA.ADDRESS);
  const expected = family === AF.INET ? 4 : 16;
  if (bytes?.length !== expected || length > expected * 8) {
    throw new NetlinkFormatError(`an address of ${bytes?.length ?? 0} bytes with a prefix of ${length}`);
  }
  const kept: Attribute[] = KEPT_ATTRIBUTES.flatMap((type): Attribute[] => {
    const value = attributes.get(type);
    return value ? [[type, value]] : [];
  });
  const wishes = (readU32(attributes, IFA.FLAGS) ?? body.readUInt8(2)) & KEPT_FLAGS;
  const flags = family === AF.INET6 ? wishes | IFA_F.NODAD : wishes;
  const header = Buffer.from(body.subarray(0, HEADER_BYTES));
  header.writeUInt8(0, 2);
  return {
    ...{ family, length },
    bytes: Buffer.from(bytes),
    scope: body.readUInt8(3),
    linkIndex: body.readUInt32LE(4),
    request: Buffer.concat([header, encodeAttributes([...kept, [IFA.FLAGS, u32(flags)]])]),
  };
}

/**
 * An address to be added. An IPv6 one is told to be used at once (IFA_F_NODAD): duplicate address detection takes a second in
 * which nothing can be bound to it, and who configures a zone knows its addresses. IPv4's has a broadcast address, as ip(8)
 * gives it with "brd +".
 */
export function newAddress(linkIndex: number, prefix: IpPrefix): AddressRecord {
  const { family, bytes, length } = prefix;
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt8(family, 0);
  header.writeUInt8(length, 1);
  header.writeUInt32LE(linkIndex, 4);
  const attributes: Attribute[] = [
    [IFA.LOCAL, bytes],
    [IFA.ADDRESS, bytes],
  ];
  if (family === AF.INET && length < 31) attributes.push([IFA.BROADCAST, broadcastOf(prefix)]);
  if (family === AF.INET6) attributes.push([IFA.FLAGS, u32(IFA_F.NODAD)]);
  const request = Buffer.concat([header, encodeAttributes(attributes)]);
  return { ...{ family, bytes, length, linkIndex, request }, scope: 0 };
}

/** The body of RTM_DELADDR. */
export function encodeAddressRemoval({
  family,
  bytes,
  length,
  linkIndex,
}: Omit<AddressRecord, "request" | "scope">): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt8(family, 0);
  header.writeUInt8(length, 1);
  header.writeUInt32LE(linkIndex, 4);
  return Buffer.concat([header, encodeAttributes([[IFA.LOCAL, bytes]])]);
}
