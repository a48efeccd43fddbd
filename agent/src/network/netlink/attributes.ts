/**
 * Attributes of netlink(7): struct nlattr { u16 length, with these four bytes; u16 type }, value, and padding to four bytes.
 * Numbers are in the machine's byte order, which is little-endian wherever a zone runs.
 */

const HEADER_BYTES = 4;
/** NLA_F_NESTED | NLA_F_NET_BYTEORDER: flags in the type's upper bits. */
const TYPE_MASK = 0x3fff;

/** What the kernel sent is not what netlink(7) says. */
export class NetlinkFormatError extends Error {
  override readonly name = "NetlinkFormatError";
}

/** An attribute to be sent. */
export type Attribute = readonly [type: number, value: Uint8Array];

export type AttributeMap = ReadonlyMap<number, Buffer>;

/** Lengths are padded to four bytes in all of netlink. */
export function align(length: number): number {
  return (length + 3) & ~3;
}

export function encodeAttributes(attributes: readonly Attribute[]): Buffer {
  const total = attributes.reduce((sum, [, value]) => sum + align(HEADER_BYTES + value.length), 0);
  const bytes = Buffer.alloc(total);
  let at = 0;
  for (const [type, value] of attributes) {
    const length = HEADER_BYTES + value.length;
    if (length > 0xffff) throw new RangeError(`an attribute of ${length} bytes; at most 65535 can be sent`);
    bytes.writeUInt16LE(length, at);
    bytes.writeUInt16LE(type, at + 2);
    bytes.set(value, at + HEADER_BYTES);
    at += align(length);
  }
  return bytes;
}

/**
 * The attributes by type; of several of a type the last, as the kernel's own parser takes them. Values are views of `bytes`.
 * Throws NetlinkFormatError; takes time in proportion to `bytes`.
 */
export function decodeAttributes(bytes: Buffer): AttributeMap {
  const found = new Map<number, Buffer>();
  let at = 0;
  while (at < bytes.length) {
    if (bytes.length - at < HEADER_BYTES) throw new NetlinkFormatError(`${bytes.length - at} bytes after an attribute`);
    const length = bytes.readUInt16LE(at);
    if (length < HEADER_BYTES || length > bytes.length - at) {
      throw new NetlinkFormatError(`an attribute of ${length} bytes where ${bytes.length - at} are left`);
    }
    found.set(bytes.readUInt16LE(at + 2) & TYPE_MASK, bytes.subarray(at + HEADER_BYTES, at + length));
    at += align(length);
  }
  return found;
}

export function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

/** A string with its NUL. */
export function text(value: string): Buffer {
  return Buffer.from(`${value}\0`, "latin1");
}

/** The value of a number; undefined when the attribute is not there. NetlinkFormatError when it is too short. */
export function readU32(attributes: AttributeMap, type: number): number | undefined {
  return need(attributes, type, 4)?.readUInt32LE();
}

/** A string up to its NUL. */
export function readText(attributes: AttributeMap, type: number): string | undefined {
  const value = attributes.get(type);
  if (!value) return undefined;
  const end = value.indexOf(0);
  return value.toString("latin1", 0, end < 0 ? value.length : end);
}

/** An attribute of at least `bytes`. */
export function need(attributes: AttributeMap, type: number, bytes: number): Buffer | undefined {
  const value = attributes.get(type);
  if (value && value.length < bytes) {
    throw new NetlinkFormatError(`attribute ${type} has ${value.length} bytes; at least ${bytes} are expected`);
  }
  return value;
}
