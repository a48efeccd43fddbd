import type { IpPrefix } from "../ip.js";
import {
  type Attribute,
  type AttributeMap,
  decodeAttributes,
  encodeAttributes,
  NetlinkFormatError,
  need,
  readU32,
  u32,
} from "./attributes.js";
import { AF, RT_SCOPE, RT_TABLE_MAIN, RTA, RTM_F_CLONED, RTN_UNICAST, RTPROT } from "./constants.js";
import { familyOf } from "./family.js";

/** struct rtmsg: u8 family, u8 dst_len, u8 src_len, u8 tos, u8 table, u8 protocol, u8 scope, u8 type, u32 flags. */
const HEADER_BYTES = 12;
/** struct rtnexthop: u16 length, u8 flags, u8 hops, s32 index; attributes follow. */
const NEXT_HOP_BYTES = 8;
const RTNH_F_ONLINK = 4;

/** Where packets go: to a gateway, or to a link, or to both: a gateway on a link. */
export interface RouteTarget {
  gateway: Buffer | undefined;
  linkIndex: number | undefined;
}

/** A route of the main table to somewhere: not one that drops or refuses. */
export interface RouteRecord extends RouteTarget {
  destination: IpPrefix;
  metric: number;
  source: Buffer | undefined;
  /** RTPROT_*: who made it. */
  protocol: number;
  /** More than one: its packets are spread. `gateway` and `linkIndex` are the first's. */
  targets: readonly RouteTarget[];
  /** The request that adds it: RTM_NEWROUTE. */
  request: Buffer;
}

/** The body of a dump's request. */
export const ROUTE_DUMP = Buffer.alloc(HEADER_BYTES);

/** Decodes RTM_NEWROUTE; undefined when it is another table's, another family's, or does not lead anywhere. NetlinkFormatError. */
export function decodeRoute(body: Buffer): RouteRecord | undefined {
  if (body.length < HEADER_BYTES) throw new NetlinkFormatError(`a route of ${body.length} bytes`);
  const family = familyOf(body.readUInt8(0));
  const length = body.readUInt8(1);
  const attributes = decodeAttributes(body.subarray(HEADER_BYTES));
  const table = readU32(attributes, RTA.TABLE) ?? body.readUInt8(4);
  const isCache = (body.readUInt32LE(8) & RTM_F_CLONED) !== 0;
  if (family === undefined || table !== RT_TABLE_MAIN || isCache || body.readUInt8(7) !== RTN_UNICAST) return undefined;
  const size = family === AF.INET ? 4 : 16;
  if (length > size * 8) throw new NetlinkFormatError(`a route with a prefix of ${length} bits`);
  const address = (type: number) => addressIn(attributes, type, size);
  const hops = attributes.get(RTA.MULTIPATH);
  const targets = hops ? decodeNextHops(hops, size) : [targetIn(attributes, size)];
  return {
    destination: { family, length, bytes: address(RTA.DST) ?? Buffer.alloc(size) },
    gateway: targets[0]?.gateway,
    linkIndex: targets[0]?.linkIndex,
    metric: readU32(attributes, RTA.PRIORITY) ?? 0,
    source: address(RTA.PREFSRC),
    protocol: body.readUInt8(5),
    targets,
    request: toRequest(body),
  };
}

/** As it was sent, without what the kernel says of its state (RTNH_F_DEAD, RTNH_F_LINKDOWN...) and would refuse. */
function toRequest(body: Buffer): Buffer {
  const request = Buffer.from(body);
  request.writeUInt32LE(body.readUInt32LE(8) & RTNH_F_ONLINK, 8);
  return request;
}

function decodeNextHops(bytes: Buffer, size: number): RouteTarget[] {
  const targets: RouteTarget[] = [];
  let at = 0;
  while (at < bytes.length) {
    const left = bytes.length - at;
    const length = left < NEXT_HOP_BYTES ? 0 : bytes.readUInt16LE(at);
    if (length < NEXT_HOP_BYTES || length > left) throw new NetlinkFormatError(`a next hop of ${length} bytes`);
    const attributes = decodeAttributes(bytes.subarray(at + NEXT_HOP_BYTES, at + length));
    targets.push({ gateway: addressIn(attributes, RTA.GATEWAY, size), linkIndex: bytes.readInt32LE(at + 4) });
    at += (length + 3) & ~3;
  }
  return targets;
}

function targetIn(attributes: AttributeMap, size: number): RouteTarget {
  return { gateway: addressIn(attributes, RTA.GATEWAY, size), linkIndex: readU32(attributes, RTA.OIF) };
}

function addressIn(attributes: AttributeMap, type: number, size: number): Buffer | undefined {
  const value = need(attributes, type, size);
  return value && Buffer.from(value.subarray(0, size));
}

/** A route that is wanted. */
export interface RouteGoal extends RouteTarget {
  destination: IpPrefix;
  /** 0: the kernel's choice. */
  metric: number;
  source: Buffer | undefined;
}

/** The body of RTM_NEWROUTE. A route without a gateway leads to neighbours, one with to the world. */
export function encodeRoute(goal: RouteGoal): Buffer {
  const scope = goal.gateway || goal.destination.family === AF.INET6 ? RT_SCOPE.UNIVERSE : RT_SCOPE.LINK;
  return encode(goal, { scope, type: RTN_UNICAST, protocol: RTPROT.STATIC });
}

/** The body of RTM_DELROUTE: what is not said matches any. */
export function encodeRouteRemoval(goal: RouteGoal): Buffer {
  return encode(goal, { scope: RT_SCOPE.NOWHERE, type: 0, protocol: 0 });
}

function encode(goal: RouteGoal, { scope, type, protocol }: { scope: number; type: number; protocol: number }): Buffer {
  const { destination, gateway, linkIndex, metric, source } = goal;
  const { family, length, bytes } = destination;
  const header = Buffer.from([family, length, 0, 0, RT_TABLE_MAIN, protocol, scope, type, 0, 0, 0, 0]);
  const attributes: Attribute[] = length > 0 ? [[RTA.DST, bytes]] : [];
  if (gateway) attributes.push([RTA.GATEWAY, gateway]);
  if (linkIndex !== undefined) attributes.push([RTA.OIF, u32(linkIndex)]);
  if (metric > 0) attributes.push([RTA.PRIORITY, u32(metric)]);
  if (source) attributes.push([RTA.PREFSRC, source]);
  return Buffer.concat([header, encodeAttributes(attributes)]);
}
