import { resolve } from "node:path";
import type { api } from "../messages.js";
import { readContent } from "./mounts.js";
import { UsageError } from "./usage-error.js";

/** `--security-opt`: seccomp=unconfined, seccomp=FILE, no-new-privileges[:true]; label and apparmor have nothing to act on. */
export function parseSecurity(
  options: readonly string[],
  privileged: boolean,
  directory: string,
): api.Security.$Properties {
  const security: api.Security.$Properties = { privileged };
  for (const option of options) {
    const [name = "", value = ""] = option.split(/[=:](.*)/s);
    if (name === "no-new-privileges" && ["", "true"].includes(value)) security.noNewPrivileges = true;
    else if (name === "no-new-privileges" && value === "false") security.noNewPrivileges = false;
    else if (name === "seccomp" && value === "unconfined") security.seccompUnconfined = true;
    else if (name === "seccomp" && value !== "") security.seccompProfile = readContent(resolve(directory, value));
    else {
      const known = "seccomp=unconfined, seccomp=FILE and no-new-privileges";
      throw new UsageError(`invalid security option '${option}': ${known} are known`);
    }
  }
  return security;
}

/** `--ulimit NAME=SOFT[:HARD]`; -1 and "unlimited" are no limit. */
export function parseUlimit(text: string): api.Ulimit.$Properties {
  const match = /^([a-z]+)=(-1|unlimited|\d+)(?::(-1|unlimited|\d+))?$/.exec(text);
  if (!match) throw new UsageError(`invalid ulimit '${text}': give NAME=SOFT[:HARD], such as nofile=1024:2048`);
  const [, type = "", soft = "", hard = soft] = match;
  const isUnlimited = (value: string) => value === "-1" || value === "unlimited";
  if (isUnlimited(soft)) return { type, unlimited: true };
  if (isUnlimited(hard))
    throw new UsageError(`invalid ulimit '${text}': a hard limit without end needs a soft one without`);
  if (Number(soft) > Number(hard))
    throw new UsageError(`invalid ulimit '${text}': the soft limit is above the hard one`);
  return { type, soft: Number(soft), hard: Number(hard) };
}

/** A number of processes; -1 is no limit. */
export function parsePidsLimit(text: string): number {
  if (text === "-1" || text === "unlimited") return 0;
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new UsageError(`invalid number of processes '${text}': give a number, or -1 for no limit`);
}

export function parseOomScore(text: string): number {
  const score = /^-?\d{1,4}$/.test(text) ? Number(text) : Number.NaN;
  if (Math.abs(score) <= 1000) return score;
  throw new UsageError(`invalid OOM score '${text}': give a number from -1000 to 1000`);
}
