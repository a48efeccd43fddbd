import { LIMITS } from "../limits.js";
import type { OutputPolicy } from "./output-buffer.js";

/**
 * What the agent must know of a process beyond PID 1's own record to take it up again after a restart: the `meta` string of
 * its spec, as JSON.
 */
export interface ProcessMeta {
  id: string;
  containerId: string;
  init: boolean;
  user: string;
  tty: boolean;
  stdin: boolean;
  outputBufferBytes: number;
  outputPolicy: OutputPolicy;
  drainGraceMs: number;
  /** Milliseconds since 1970. */
  createdAt: number;
  /** OOM kills in its container before it was made. */
  oomKillsBefore: number;
}

export function encodeMeta(meta: ProcessMeta): string {
  return JSON.stringify(meta);
}

/** The reverse; undefined when `text` is no such meta: of a process that another program started, or a newer agent. */
export function decodeMeta(text: string): ProcessMeta | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  return isMeta(value) ? value : undefined;
}

function isMeta(value: unknown): value is ProcessMeta {
  if (typeof value !== "object" || value === null) return false;
  const meta = value as Record<string, unknown>;
  const strings = ["id", "containerId", "user"].every((name) => typeof meta[name] === "string");
  const flags = ["init", "tty", "stdin"].every((name) => typeof meta[name] === "boolean");
  const numbers = ["outputBufferBytes", "drainGraceMs", "createdAt", "oomKillsBefore"].every((name) =>
    Number.isFinite(meta[name]),
  );
  return (
    strings &&
    flags &&
    numbers &&
    meta.id !== "" &&
    Number(meta.outputBufferBytes) <= LIMITS.outputBufferBytes.max &&
    Number(meta.drainGraceMs) <= LIMITS.drainGraceMs.max &&
    (meta.outputPolicy === "block" || meta.outputPolicy === "drop")
  );
}
