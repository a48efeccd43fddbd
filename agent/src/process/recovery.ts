import type { InitRecord } from "@zone/native";
import { decodeMeta } from "./meta.js";
import { type OffsetFile, UNCOUNTED_BYTES } from "./offset-file.js";
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

/** A process as PID 1 remembers it, RUNNING; undefined (and `kept` untouched) when its meta is not this agent's. */
export function adopt(record: InitRecord, offsets: OffsetFile): ZoneProcess | undefined {
  const meta = decodeMeta(record.spec.meta);
  if (!meta) return undefined;
  for (const stream of ["stdout", "stderr"] as const) {
    offsets.set(record.token, stream, offsets.get(record.token, stream) + UNCOUNTED_BYTES);
  }
  const stdio = adoptStdio(meta.tty, meta.stdin, record.kept);
  const process = new ZoneProcess(record.token, meta, record.spec.argv, stdio, offsets);
  process.starting();
  process.spawned(record.pid, meta.createdAt);
  return process;
}
