import type * as grpc from "@grpc/grpc-js";
import { agent, createClient, ProcessService, type zone } from "@zone/proto";
import { bridgeError } from "../errors.js";
import { exactInteger } from "../numbers.js";
import type { LogFile } from "./log-file.js";
import { MAX_RECORD_BYTES } from "./log-record.js";

const { OUTPUT_STREAM_STDOUT, OUTPUT_STREAM_STDERR } = agent.OutputStream;
const NUMBERS = { stdout: OUTPUT_STREAM_STDOUT, stderr: OUTPUT_STREAM_STDERR };
type OutputStream = keyof typeof NUMBERS;

/** Output is acknowledged when so much of a stream has been written: a fraction of the least buffer that a process has. */
const ACK_BYTES = 32 * 1024;

/**
 * Takes the output of a process into a log, from where the log ends, and acknowledges what is written. Settles when the log
 * has all of it. Rejects when the link is lost or the log cannot be written: call again, nothing is lost or written twice.
 */
export async function followOutput(
  client: grpc.Client,
  processId: string,
  log: LogFile,
  signal: AbortSignal,
): Promise<void> {
  const call = createClient(ProcessService, client).attach({ signal });
  call.on("error", () => {}); // the loop reports it; one that comes after the loop (we cancelled) is no news
  const acked = { stdout: log.position("stdout"), stderr: log.position("stderr") };
  try {
    call.write({ open: { processId, stdoutFrom: acked.stdout, stderrFrom: acked.stderr } });
    for await (const message of call as AsyncIterable<zone.agent.v1.AttachResponse>) {
      if (message.exit || message.failed) return;
      const stream = await take(message, log);
      if (!stream) continue;
      const offset = log.position(stream);
      if (offset - acked[stream] < ACK_BYTES) continue;
      acked[stream] = offset;
      call.write({ ack: { stream: NUMBERS[stream], offset } });
    }
  } finally {
    call.cancel();
  }
  throw bridgeError("UNAVAILABLE", "ZONE_UNREACHABLE", "the agent ended the output without the process's exit");
}

/** Writes what a message brings; the stream that it belongs to. A zone is hostile: nothing in it is taken on trust. */
async function take(
  { output, gap, eof }: zone.agent.v1.AttachResponse,
  log: LogFile,
): Promise<OutputStream | undefined> {
  const stream = streamOf((output ?? gap ?? eof)?.stream);
  if (!stream) return undefined;
  const data = output?.data ?? Buffer.alloc(0);
  const from = exactInteger(output?.offset ?? gap?.to ?? eof?.offset);
  const to = from + data.length;
  const position = log.position(stream);
  if (data.length > MAX_RECORD_BYTES || !Number.isSafeInteger(to)) {
    throw new RangeError("the agent sent output that cannot be");
  }
  if (to <= position) return stream;
  const fresh = Math.max(from, position);
  await log.append({ time: Date.now(), stream, from: fresh, to, data: data.subarray(fresh - from) });
  return stream;
}

function streamOf(number: number | null | undefined): OutputStream | undefined {
  if (number === OUTPUT_STREAM_STDOUT) return "stdout";
  return number === OUTPUT_STREAM_STDERR ? "stderr" : undefined;
}
