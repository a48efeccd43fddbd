import { agent, type zone as messages, ZoneError } from "@zone/proto";
import type { SurfaceZone } from "./row.js";

type Call = ReturnType<SurfaceZone["bridge"]["process_"]["attach"]>;
/** A message of the client's side of Attach. */
export type AttachMessage = Parameters<Call["write"]>[0];
export type AttachOpen = NonNullable<AttachMessage["open"]>;

/** What an attachment gave, to its end. */
export interface Attached {
  /** Kinds of all messages in order. */
  kinds: string[];
  stdout: string;
  stderr: string;
  gaps: { from: number; to: number }[];
  heldOpen: boolean;
  code: number | undefined;
  signal: number | undefined;
  /** Reason, when exec did not happen. */
  failed: string | undefined;
}

/** An attachment as it is now, and a way to say something: told at every message. */
export interface Attaching extends Attached {
  send(message: AttachMessage): void;
}

/** Attaches and collects all until the call has ended; rejects with its ZoneError. `react` is called after every message. */
export function attached(
  zone: SurfaceZone,
  open: AttachOpen,
  react: (now: Attaching, kind: string) => unknown = () => {},
): Promise<Attached> {
  return talk(zone, [{ open }], react);
}

/** The same with the first messages as they are: for calls that do not begin with `open`. */
export function talk(
  zone: SurfaceZone,
  first: readonly AttachMessage[],
  react: (now: Attaching, kind: string) => unknown = () => {},
): Promise<Attached> {
  const call = zone.bridge.process_.attach(zone.in());
  const streams: Record<number, Buffer[]> = { 1: [], 2: [] };
  const now: Attaching = {
    ...{ kinds: [], stdout: "", stderr: "", gaps: [], heldOpen: false },
    ...{ code: undefined, signal: undefined, failed: undefined },
    send: (message) => void call.write(message),
  };
  return new Promise((resolve, reject) => {
    call.on("data", (message) => {
      take(message, now, streams);
      (async () => react(now, message.kind ?? ""))().catch((error: unknown) => {
        call.cancel();
        reject(error);
      });
    });
    call.on("end", () => resolve(now));
    call.on("error", (error) => reject(ZoneError.from(error)));
    for (const message of first) call.write(message);
    if (first.length === 0) call.end();
  });
}

function take(message: messages.agent.v1.AttachResponse, now: Attaching, streams: Record<number, Buffer[]>): void {
  now.kinds.push(message.kind ?? "");
  if (message.output) {
    const { stream, data } = message.output;
    streams[stream ?? 0]?.push(Buffer.from(data ?? []));
    now.stdout = Buffer.concat(streams[agent.OutputStream.OUTPUT_STREAM_STDOUT] ?? []).toString();
    now.stderr = Buffer.concat(streams[agent.OutputStream.OUTPUT_STREAM_STDERR] ?? []).toString();
  }
  if (message.gap) now.gaps.push({ from: message.gap.from ?? 0, to: message.gap.to ?? 0 });
  now.heldOpen ||= message.eof?.heldOpen ?? false;
  if (message.exit) Object.assign(now, { code: message.exit.code ?? 0, signal: message.exit.signal ?? 0 });
  if (message.failed) now.failed = message.failed.reason ?? "";
}
