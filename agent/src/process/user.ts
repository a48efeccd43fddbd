import { agentError, invalid } from "../errors.js";
import { LIMITS } from "../limits.js";
import { type GroupEntry, type PasswdEntry, parseGroup, parseId, parsePasswd } from "./accounts.js";

/** Who a process runs as. */
export interface User {
  uid: number;
  gid: number;
  /** Supplementary groups. */
  groups: number[];
  home: string;
}

/** The account files of a root; "" when the root has none. */
export interface AccountFiles {
  passwd(): string;
  group(): string;
}

/**
 * Resolves "", "user", "uid", "user:group", "uid:gid" as Docker does (its libcontainer/user.GetExecUser):
 *  - "" is uid 0; a number is a uid, whether or not passwd knows it; a name must be there.
 *  - The group is the one given, else the user's own of passwd, else 0.
 *  - A user that passwd knows gets the groups that list it, unless a group was given.
 * Throws INVALID_USER_SPEC, USER_UNKNOWN or GROUP_UNKNOWN.
 */
export function resolveUser(spec: string, additionalGroups: readonly string[], files: AccountFiles): User {
  const [userPart = "", groupPart = ""] = splitUserSpec(spec);
  const entry = findUser(userPart === "" ? "0" : userPart, files);
  const uid = entry?.uid ?? parseId(userPart === "" ? "0" : userPart);
  if (uid === undefined) {
    throw agentError("NOT_FOUND", "USER_UNKNOWN", `user "${userPart}" is not in /etc/passwd`, {
      resource: { type: "user", name: userPart },
    });
  }
  let parsed: GroupEntry[] | undefined;
  const entries = (): GroupEntry[] => {
    parsed ??= parseGroup(files.group());
    return parsed;
  };
  const gid = groupPart === "" ? (entry?.gid ?? 0) : findGroup(groupPart, entries);
  const groups = new Set<number>();
  if (entry && groupPart === "") {
    for (const group of entries()) if (group.members.includes(entry.name)) groups.add(group.gid);
  }
  for (const group of additionalGroups) groups.add(findGroup(group, entries));
  return { uid, gid, groups: [...groups].slice(0, LIMITS.supplementaryGroups), home: entry?.home || "/" };
}

/** Splits "user:group"; throws INVALID_USER_SPEC when it is not of that form. */
export function splitUserSpec(spec: string): string[] {
  const parts = spec.split(":");
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is refused.
  if (parts.length > 2 || spec.length > LIMITS.userLength || /[\x00-\x1f]/.test(spec)) {
    throw invalid("INVALID_USER_SPEC", `user "${spec.slice(0, LIMITS.userLength)}" is not of the form user[:group]`);
  }
  return parts;
}

/** By uid when it is a number, else by name. */
function findUser(user: string, files: AccountFiles): PasswdEntry | undefined {
  const uid = parseId(user);
  const entries = parsePasswd(files.passwd());
  return entries.find((entry) => (uid === undefined ? entry.name === user : entry.uid === uid));
}

function findGroup(group: string, entries: () => GroupEntry[]): number {
  const gid = parseId(group) ?? entries().find((entry) => entry.name === group)?.gid;
  if (gid !== undefined) return gid;
  throw agentError("NOT_FOUND", "GROUP_UNKNOWN", `group "${group}" is not in /etc/group`, {
    resource: { type: "group", name: group },
  });
}
