import { agent, ZoneError } from "@zone/proto";
import { inZone, type TestBridge } from "./bridge.js";

type Spec = NonNullable<Parameters<ReturnType<TestBridge["process_"]["attach"]>["write"]>[0]["open"]>["spec"];

/** What an exec over the API gave. */
export interface ExecOutcome {
  code: number;
  signal: number;
  stdout: Buffer;
  stderr: Buffer;
  /** Reason, when exec did not happen. */
  failed: string | undefined;
  heldOpen: boolean;
  id: string;
}

/**
 * Starts a process in a zone and carries its stdio to the end, as `zonectl exec` does, checking the order of messages on
 * the way: offsets without holes, EOF of each stream before the exit, nothing after it.
 */
export function exec(
  bridge: TestBridge,
  zone: string,
  spec: NonNullable<Spec>,
  input?: Buffer,
  chunkBytes = 65536,
): Promise<ExecOutcome> {
  return new Promise((resolve, reject) => {
    const call = bridge.process_.attach(inZone(zone));
    const chunks = {
      [agent.OutputStream.OUTPUT_STREAM_STDOUT]: [] as Buffer[],
      [agent.OutputStream.OUTPUT_STREAM_STDERR]: [] as Buffer[],
    };
    const offsets = new Map<number, number>();
    const outcome: ExecOutcome = {
      ...{ code: -1, signal: -1, failed: undefined, heldOpen: false, id: "" },
      ...{ stdout: Buffer.alloc(0), stderr: Buffer.alloc(0) },
    };
    let over = false;
    const wrong = (what: string) => {
      call.cancel();
      reject(new Error(what));
    };
    call.on("data", (message) => {
      if (over) return wrong("a message came after the exit");
      if (message.opened) {
        outcome.id = message.opened.process?.id ?? "";
        if (input) {
          for (let offset = 0; offset < input.length; offset += chunkBytes) {
            call.write({ stdin: { offset, data: input.subarray(offset, offset + chunkBytes) } });
          }
          call.write({ stdinEof: { offset: input.length } });
        }
      } else if (message.output) {
        const { stream, offset, data } = message.output;
        const expected = offsets.get(stream ?? 0) ?? 0;
        if (offset !== expected) return wrong(`stream ${stream}: offset ${offset}, expected ${expected}`);
        offsets.set(stream ?? 0, expected + (data?.length ?? 0));
        chunks[stream as keyof typeof chunks]?.push(Buffer.from(data ?? []));
      } else if (message.gap) {
        return wrong(`a gap from ${message.gap.from} to ${message.gap.to}`);
      } else if (message.eof) {
        outcome.heldOpen ||= message.eof.heldOpen ?? false;
      } else if (message.exit) {
        over = true;
        Object.assign(outcome, { code: message.exit.code, signal: message.exit.signal });
      } else if (message.failed) {
        over = true;
        outcome.failed = message.failed.reason ?? "";
        outcome.code = message.failed.exitCode ?? -1;
      }
    });
    call.on("error", (error) => reject(ZoneError.from(error)));
    call.on("end", () => {
      outcome.stdout = Buffer.concat(chunks[agent.OutputStream.OUTPUT_STREAM_STDOUT]);
      outcome.stderr = Buffer.concat(chunks[agent.OutputStream.OUTPUT_STREAM_STDERR]);
      if (over) resolve(outcome);
      else reject(new Error("the stream ended without an exit"));
    });
    call.write({ open: { spec: input ? { ...spec, stdin: true } : spec, stdin: input !== undefined } });
  });
}

/** argv from strings. */
export function argv(...args: string[]): Buffer[] {
  return args.map((arg) => Buffer.from(arg));
}
