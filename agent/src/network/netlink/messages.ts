import { align, decodeAttributes, NetlinkFormatError, readText, readU32 } from "./attributes.js";
import { NLM_F, NLMSG, NLMSGERR_ATTR } from "./constants.js";

/** struct nlmsghdr: u32 length, u16 type, u16 flags, u32 sequence, u32 port. */
const HEADER_BYTES = 16;

export interface Message {
  type: number;
  flags: number;
  sequence: number;
  /** A view of the datagram. */
  body: Buffer;
}

/** One message as a datagram. The port 0 lets the kernel fill in the socket's. */
export function encodeMessage(message: Omit<Message, "body"> & { body: Uint8Array }): Buffer {
  const { type, flags, sequence, body } = message;
  const bytes = Buffer.alloc(HEADER_BYTES + align(body.length));
  bytes.writeUInt32LE(HEADER_BYTES + body.length, 0);
  bytes.writeUInt16LE(type, 4);
  bytes.writeUInt16LE(flags, 6);
  bytes.writeUInt32LE(sequence, 8);
  bytes.set(body, HEADER_BYTES);
  return bytes;
}

/** The messages of a datagram. NetlinkFormatError; takes time in proportion to it. */
export function decodeMessages(datagram: Buffer): Message[] {
  const messages: Message[] = [];
  let at = 0;
  while (at < datagram.length) {
    const left = datagram.length - at;
    const length = left < HEADER_BYTES ? 0 : datagram.readUInt32LE(at);
    if (length < HEADER_BYTES || length > left) {
      throw new NetlinkFormatError(`a message of ${length} bytes where ${left} are left`);
    }
    messages.push({
      type: datagram.readUInt16LE(at + 4),
      flags: datagram.readUInt16LE(at + 6),
      sequence: datagram.readUInt32LE(at + 8),
      body: datagram.subarray(at + HEADER_BYTES, at + length),
    });
    at += align(length);
  }
  return messages;
}

/** How a request has ended. */
export interface Acknowledgement {
  /** Positive; 0 is success. */
  errno: number;
  /** The kernel's words (NETLINK_EXT_ACK), "" when it had none. */
  text: string;
}

/** Reads NLMSG_ERROR (of which errno 0 is a success) or NLMSG_DONE (the end of a dump). */
export function decodeAcknowledgement({ type, flags, body }: Message): Acknowledgement {
  if (body.length < 4) {
    // The kernel always sends the errno of a dump; others may not.
    if (type === NLMSG.DONE) return { errno: 0, text: "" };
    throw new NetlinkFormatError(`an acknowledgement of ${body.length} bytes`);
  }
  const errno = -body.readInt32LE(0);
  if (errno < 0) throw new NetlinkFormatError(`an acknowledgement with errno ${errno}`);
  if (!(flags & NLM_F.ACK_TLVS)) return { errno, text: "" };
  const attributes = decodeAttributes(body.subarray(Math.min(body.length, 4 + repeatedBytes(type, flags, body))));
  const offset = readU32(attributes, NLMSGERR_ATTR.OFFS);
  const words = readText(attributes, NLMSGERR_ATTR.MSG) ?? "";
  return { errno, text: words || (offset === undefined ? "" : `attribute at byte ${offset} of the request`) };
}

/** Bytes of the request that an NLMSG_ERROR repeats. */
function repeatedBytes(type: number, flags: number, body: Buffer): number {
  if (type !== NLMSG.ERROR) return 0;
  if (body.length < 4 + HEADER_BYTES) throw new NetlinkFormatError("an acknowledgement without its request's header");
  return flags & NLM_F.CAPPED ? HEADER_BYTES : Math.max(HEADER_BYTES, align(body.readUInt32LE(4)));
}
