import type { TarMember } from "./tar-writer.js";

/** An extended header for the next member. Strings have one character a byte. */
export function pax(records: Record<string, string | Buffer>, typeFlag = "x"): TarMember {
  return { name: "PaxHeaders/x", typeFlag, content: encodePax(records) };
}

/** The content of an extended header: `LENGTH KEY=VALUE\n` records, the length counting itself. */
export function encodePax(records: Record<string, string | Buffer>): Buffer {
  const parts = Object.entries(records).map(([key, value]) => {
    const rest = Buffer.concat([Buffer.from(` ${key}=`, "latin1"), latin1(value), Buffer.from("\n")]);
    let length = rest.length + 1;
    while (length !== rest.length + String(length).length) length = rest.length + String(length).length;
    return Buffer.concat([Buffer.from(String(length)), rest]);
  });
  return Buffer.concat(parts);
}

/** GNU's header for a name (L) or a link's target (K) of more than 100 bytes. */
export function gnuLong(typeFlag: "L" | "K", text: string): TarMember {
  return { name: "././@LongLink", typeFlag, content: Buffer.from(`${text}\0`, "latin1") };
}

export function file(name: string, content: string | Buffer = "", more: Partial<TarMember> = {}): TarMember {
  return { name, typeFlag: "0", content: latin1(content), ...more };
}

export function folder(name: string, more: Partial<TarMember> = {}): TarMember {
  return { name, typeFlag: "5", mode: 0o755, ...more };
}

export function symlink(name: string, linkName: string): TarMember {
  return { name, typeFlag: "2", mode: 0o777, linkName };
}

export function hardlink(name: string, linkName: string): TarMember {
  return { name, typeFlag: "1", linkName };
}

function latin1(value: string | Buffer): Buffer {
  return typeof value === "string" ? Buffer.from(value, "latin1") : value;
}
