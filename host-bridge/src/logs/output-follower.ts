import { agent, createClient, ProcessService, ZoneError, type zone } from "@zone/proto";
import { bridgeError } from "../errors.js";
import { exactInteger } from "../numbers.js";
import type { AgentSession } from "../zones/zone-link.js";
import type { LogFile } from "./log-file.js";
import { MAX_RECORD_BYTES } from "./log-record.js";

type OutputStream = "stdout" | "stderr";

/** Output is acknowledged when so much of a stream has been written: a fraction of the least buffer that a process has. */
const ACK_BYTES = 32 * 1024;

/**
 * Takes the output of a process into a log, from where the log ends, and acknowledges what is written. Settles when the log
 * has all of it. Rejects when the link is lost or the log cannot be written: call again, nothing is lost or written twice.
 *
 * The agent keeps the bytes in between. An agent that has restarted counts its streams from where it is: positions in the log
 * go on, see `rebase`.
 */
export class OutputFollower {
  readonly #log: LogFile;
  readonly #processId: string;
  /** What is added to the agent's offsets to be a position in the log. */
  readonly #base: Record<OutputStream, number> = { stdout: 0, stderr: 0 };
  #restarts: number | undefined;

  constructor(log: LogFile, processId: string) {
    this.#log = log;
    this.#processId = processId;
  }

  async follow(session: AgentSession, signal: AbortSignal): Promise<void> {
    if (this.#restarts !== undefined && this.#restarts !== session.restarts) this.rebase();
    this.#restarts = session.restarts;
    const call = createClient(ProcessService, session.client).attach({ signal });
    call.on("error", () => {}); // the loop reports it; one that comes after the loop (we cancelled) is no news
    const acked = { stdout: 0, stderr: 0 };
    try {
      call.write({
        open: { processId: this.#processId, stdoutFrom: this.#offset("stdout"), stderrFrom: this.#offset("stderr") },
      });
      for await (const message of call as AsyncIterable<zone.agent.v1.AttachResponse>) {
        if (message.exit || message.failed) return;
        const stream = await this.#take(message);
        if (!stream) continue;
        const offset = this.#offset(stream);
        if (offset - acked[stream] < ACK_BYTES) continue;
        acked[stream] = offset;
        call.write({
          ack: {
            stream: agent.OutputStream[stream === "stdout" ? "OUTPUT_STREAM_STDOUT" : "OUTPUT_STREAM_STDERR"],
            offset,
          },
        });
      }
    } catch (thrown) {
      // The agent has fewer bytes than the log: it was restarted while no bridge was there to see it.
      if (ZoneError.from(thrown).reason === "OFFSET_IN_FUTURE") this.rebase();
      throw thrown;
    } finally {
      call.cancel();
    }
    throw bridgeError("UNAVAILABLE", "ZONE_UNREACHABLE", "the agent ended the output without the process's exit");
  }

  /** The agent's streams begin anew: its offset 0 is where the log ends. */
  rebase(): void {
    for (const stream of ["stdout", "stderr"] as const) this.#base[stream] = this.#log.position(stream);
  }

  /** The agent's offset of what the log does not have yet. */
  #offset(stream: OutputStream): number {
    return this.#log.position(stream) - this.#base[stream];
  }

  /** Writes what a message brings; the stream that it belongs to. A zone is hostile: nothing in it is taken on trust. */
  async #take(message: zone.agent.v1.AttachResponse): Promise<OutputStream | undefined> {
    const { output, gap, eof } = message;
    const stream = streamOf((output ?? gap ?? eof)?.stream);
    if (!stream) return undefined;
    const data = output?.data ?? Buffer.alloc(0);
    const from = this.#base[stream] + exactInteger(output?.offset ?? gap?.to ?? eof?.offset);
    const to = from + data.length;
    const position = this.#log.position(stream);
    if (data.length > MAX_RECORD_BYTES || !Number.isSafeInteger(to))
      throw new RangeError("the agent sent output that cannot be");
    if (to <= position) return stream;
    const fresh = Math.max(from, position);
    await this.#log.append({ time: Date.now(), stream, from: fresh, to, data: data.subarray(fresh - from) });
    return stream;
  }
}

function streamOf(stream: number | null | undefined): OutputStream | undefined {
  if (stream === agent.OutputStream.OUTPUT_STREAM_STDOUT) return "stdout";
  if (stream === agent.OutputStream.OUTPUT_STREAM_STDERR) return "stderr";
  return undefined;
}
