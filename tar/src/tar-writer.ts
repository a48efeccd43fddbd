import { TAR_BLOCK } from "./tar-header.js";

/** One member to write. Names of at most 100 bytes; enough for what we make ourselves. */
export interface TarMember {
  name: string;
  typeFlag: "0" | "1" | "2" | "3" | "4" | "5" | "6" | "x" | "g" | "L" | "K" | string;
  mode?: number;
  uid?: number;
  gid?: number;
  mtime?: number;
  linkName?: string;
  major?: number;
  minor?: number;
  content?: Uint8Array;
  /** What the header says instead of the content's length. */
  size?: number;
}

/** A ustar member: header, content, padding. Strings have one character a byte. */
export function encodeMember(member: TarMember): Buffer {
  const { content = Buffer.alloc(0), size = content.length } = member;
  const header = Buffer.alloc(TAR_BLOCK);
  header.write(member.name, 0, 100, "latin1");
  octal(header, 100, 7, member.mode ?? 0o644);
  octal(header, 108, 7, member.uid ?? 0);
  octal(header, 116, 7, member.gid ?? 0);
  octal(header, 124, 11, size);
  octal(header, 136, 11, member.mtime ?? 0);
  header.write(member.typeFlag, 156, 1, "latin1");
  header.write(member.linkName ?? "", 157, 100, "latin1");
  header.write("ustar\u000000", 257, "latin1");
  octal(header, 329, 7, member.major ?? 0);
  octal(header, 337, 7, member.minor ?? 0);
  header.fill(" ", 148, 156);
  octal(
    header,
    148,
    6,
    header.reduce((sum, byte) => sum + byte, 0),
  );
  header.writeUInt8(0, 154);
  const padding = Buffer.alloc((TAR_BLOCK - (content.length % TAR_BLOCK)) % TAR_BLOCK);
  return Buffer.concat([header, content, padding]);
}

/** A whole archive. */
export function encodeTar(members: readonly TarMember[]): Buffer {
  return Buffer.concat([...members.map(encodeMember), Buffer.alloc(2 * TAR_BLOCK)]);
}

/** `digits` octal digits; what follows them stays as it is. */
function octal(header: Buffer, offset: number, digits: number, value: number): void {
  const text = value.toString(8).padStart(digits, "0");
  if (text.length > digits) throw new RangeError(`${value} does not fit into ${digits} octal digits`);
  header.write(text, offset, "latin1");
}
