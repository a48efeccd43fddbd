import type { ServerDuplexStream } from "@grpc/grpc-js";
import { agent } from "../messages.js";
import { int64 } from "../numbers.js";
import type { HostProcess } from "./host-process.js";

type Call = ServerDuplexStream<agent.AttachRequest, agent.AttachResponse.$Properties>;

const CHUNK_BYTES = 64 * 1024;
/** As the agent: with this much stdin waiting for the process, the call is not read, and acknowledgements wait behind it. */
const STDIN_QUEUE_BYTES = 1024 * 1024;

/** Serves one Attach call on `target`, once `open` has come; the caller has found or made the process. */
export function serveAttach(call: Call, target: HostProcess, open: agent.AttachOpen.$Properties): void {
  const sent = new Map<string, number>([
    ["stdout", int64(open.stdoutFrom)],
    ["stderr", int64(open.stderrFrom)],
  ]);
  const acknowledged = new Map(sent);
  const eofSent = new Set<string>();
  let isOver = false;

  const finish = () => {
    isOver = true;
    target.listeners.delete(pump);
    target.acknowledged.delete(acknowledged);
    target.balance();
  };
  const pump = () => {
    if (isOver) return;
    for (const output of target.outputs) {
      const stream = streamNumber(output.name);
      let from = sent.get(output.name) ?? 0;
      while (from < output.bytes.length) {
        const data = output.bytes.subarray(from, from + CHUNK_BYTES);
        call.write({ output: { stream, offset: from, data } });
        from += data.length;
      }
      sent.set(output.name, from);
      if (output.isEof && !eofSent.has(output.name)) {
        eofSent.add(output.name);
        call.write({ eof: { stream, offset: output.bytes.length } });
      }
    }
    if (target.exit) call.write({ exit: target.exit });
    else if (target.failure) call.write({ failed: target.failure });
    else return;
    finish();
    call.end();
  };

  call.on("data", (message: agent.AttachRequest) => {
    if (message.stdin) {
      target.stdin(int64(message.stdin.offset), message.stdin.data ?? new Uint8Array(), () => {
        if (target.stdinTaken - target.stdinAccepted < STDIN_QUEUE_BYTES || target.stdinClosed) call.resume();
        if (!isOver) call.write({ stdinAck: { offset: target.stdinAccepted, closed: target.stdinClosed } });
      });
      if (target.stdinTaken - target.stdinAccepted >= STDIN_QUEUE_BYTES && !target.stdinClosed) call.pause();
    } else if (message.stdinEof) target.endStdin();
    else if (message.resize) target.resize(message.resize.rows ?? 0, message.resize.columns ?? 0);
    else if (message.ack) {
      acknowledged.set(
        message.ack.stream === agent.OutputStream.OUTPUT_STREAM_STDERR ? "stderr" : "stdout",
        int64(message.ack.offset),
      );
      target.balance();
    }
  });
  call.on("cancelled", finish);
  call.on("error", finish);

  call.write({
    opened: { process: { id: target.id, tty: Boolean(target.spec.tty) }, stdinOffset: target.stdinAccepted },
  });
  target.acknowledged.add(acknowledged);
  target.listeners.add(pump);
  if (target.state === "created" && (open.start || open.spec)) target.start();
  pump();
}

function streamNumber(name: "stdout" | "stderr"): agent.OutputStream {
  return name === "stdout" ? agent.OutputStream.OUTPUT_STREAM_STDOUT : agent.OutputStream.OUTPUT_STREAM_STDERR;
}
