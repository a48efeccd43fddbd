import type { InitRecord } from "@zone/native";
import { decodeMeta } from "./meta.js";
import { ZoneProcess } from "./process.js";
import { adoptStdio } from "./stdio.js";

/**
 * Tokens that are never used twice in a boot: the agent's restarts in the upper half, a count in the lower. The count begins
 * at 1, so that no token is 0.
 */
export function tokenGenerations(restarts: number): () => bigint {
  let count = 0n;
  return () => (BigInt(restarts) << 32n) | ++count;
}

/** Bytes of one stream that one generation of the agent can count: 16 TiB. */
const GENERATION_BYTES = 2 ** 44;
const MAX_GENERATION = Math.floor(Number.MAX_SAFE_INTEGER / GENERATION_BYTES) - 1;

/**
 * The first offset of a stream that was taken up after `restarts` restarts. How much an earlier agent had read died with it,
 * so offsets go on at a base that none of them can have reached: a client that resumes at its own offset gets a Gap that ends
 * there, which says that bytes may be missing and never that none are. Stdin likewise goes on at the base.
 */
export function offsetBase(restarts: number): number {
  return Math.min(restarts, MAX_GENERATION) * GENERATION_BYTES;
}

/** A process as PID 1 remembers it, RUNNING; undefined (and `kept` untouched) when its meta is not this agent's. */
export function adopt(record: InitRecord, restarts: number): ZoneProcess | undefined {
  const meta = decodeMeta(record.spec.meta);
  if (!meta) return undefined;
  const stdio = adoptStdio(meta.tty, meta.stdin, record.kept);
  const process = new ZoneProcess(record.token, meta, record.spec.argv, stdio, offsetBase(restarts));
  process.starting();
  process.spawned(record.pid, meta.createdAt);
  return process;
}
