/** A line of passwd(5). */
export interface PasswdEntry {
  name: string;
  uid: number;
  gid: number;
  home: string;
}

/** A line of group(5). */
export interface GroupEntry {
  name: string;
  gid: number;
  members: string[];
}

/** The highest id there is: 2^32 - 1 means "leave as it is" to the kernel. */
const MAX_ID = 2 ** 32 - 2;

/** A user or group id written as a decimal number; undefined when `text` is none. */
export function parseId(text: string): number | undefined {
  if (!/^[0-9]{1,10}$/.test(text)) return undefined;
  const id = Number(text);
  return id <= MAX_ID ? id : undefined;
}

/** The entries of an /etc/passwd; lines that are none are skipped, as libc does. */
export function parsePasswd(text: string): PasswdEntry[] {
  const entries: PasswdEntry[] = [];
  for (const fields of lines(text)) {
    const [name, , uidText = "", gidText = "", , home = ""] = fields;
    const uid = parseId(uidText);
    const gid = parseId(gidText);
    if (name && uid !== undefined && gid !== undefined) entries.push({ name, uid, gid, home });
  }
  return entries;
}

/** The entries of an /etc/group; lines that are none are skipped. */
export function parseGroup(text: string): GroupEntry[] {
  const entries: GroupEntry[] = [];
  for (const fields of lines(text)) {
    const [name, , gidText = "", members = ""] = fields;
    const gid = parseId(gidText);
    if (name && gid !== undefined)
      entries.push({ name, gid, members: members.split(",").filter((member) => member !== "") });
  }
  return entries;
}

function lines(text: string): string[][] {
  return text.split("\n").map((line) => line.trim().split(":"));
}
