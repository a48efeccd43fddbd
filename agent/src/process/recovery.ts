import type { InitRecord } from "@zone/native";
import type { Container } from "../container/container.js";
import { decodeMeta } from "./meta.js";
import type { OciRuntime } from "./oci-init.js";
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

/**
 * A process as PID 1 remembers it, RUNNING, or CREATED when it is an OCI bundle's init that crun has made and not started;
 * undefined (and `kept` untouched) when its meta is not this agent's.
 */
export function adopt(
  record: InitRecord,
  offsets: OffsetFile,
  container: (id: string) => Container | undefined,
  runtime: OciRuntime,
): ZoneProcess | undefined {
  const meta = decodeMeta(record.spec.meta);
  if (!meta) return undefined;
  for (const stream of ["stdout", "stderr"] as const) {
    offsets.set(record.token, stream, offsets.get(record.token, stream) + UNCOUNTED_BYTES);
  }
  const stdio = adoptStdio(meta.tty, meta.stdin, record.kept);
  const own = meta.init ? container(meta.containerId) : undefined;
  // Of what crun has made PID 1 knows nothing but the meta.
  const argv = own?.config?.process.args.map((text) => Buffer.from(text)) ?? record.spec.argv;
  const process = new ZoneProcess(record.token, meta, argv, stdio, offsets);
  if (own?.config && runtime.waiting(own)) return process;
  process.starting();
  process.spawned(record.pid, meta.createdAt);
  return process;
}
