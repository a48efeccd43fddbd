import { type ResourceLimit, UNLIMITED } from "@zone/native";
import { invalid } from "../errors.js";
import { LIMITS } from "../limits.js";

/** Numbers of RLIMIT_*, asm-generic/resource.h (the same on x86-64 and arm64). */
const RESOURCES: Record<string, number> = {
  ...{ cpu: 0, fsize: 1, data: 2, stack: 3, core: 4, rss: 5, nproc: 6, nofile: 7 },
  ...{ memlock: 8, as: 9, locks: 10, sigpending: 11, msgqueue: 12, nice: 13, rtprio: 14, rttime: 15 },
};

/** A limit as it comes in a request; setrlimit(2). */
export interface RequestedLimit {
  type?: string | null;
  soft?: unknown;
  hard?: unknown;
  unlimited?: boolean | null;
}

/** Checks limits; throws INVALID_RLIMIT. */
export function parseRlimits(requested: readonly RequestedLimit[]): ResourceLimit[] {
  if (requested.length > LIMITS.rlimits) throw invalid("INVALID_RLIMIT", `more than ${LIMITS.rlimits} resource limits`);
  const seen = new Set<number>();
  return requested.map(({ type, soft, hard, unlimited }) => {
    const name = type ?? "";
    const resource = Object.hasOwn(RESOURCES, name) ? RESOURCES[name] : undefined;
    if (resource === undefined) {
      throw invalid("INVALID_RLIMIT", `"${name.slice(0, 40)}" is not a resource limit; setrlimit(2) lists them`);
    }
    if (seen.has(resource)) throw invalid("INVALID_RLIMIT", `the limit "${name}" is given twice`);
    seen.add(resource);
    if (unlimited) return { resource, soft: UNLIMITED, hard: UNLIMITED };
    const limit = { resource, soft: toLimit(soft), hard: toLimit(hard) };
    if (limit.soft > limit.hard) throw invalid("INVALID_RLIMIT", `the soft limit of "${name}" is above the hard one`);
    return limit;
  });
}

/** A uint64 field as it was sent. 2^64 - 1, RLIM_INFINITY, prints as 2^64 when it has passed through a double. */
function toLimit(field: unknown): bigint {
  const value = BigInt(String(field ?? 0));
  return value > UNLIMITED ? UNLIMITED : value;
}
