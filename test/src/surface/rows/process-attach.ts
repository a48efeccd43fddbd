import { agent } from "@zone/proto";
import { expect } from "vitest";
import { argv } from "../../harness/exec.js";
import { type AttachMessage, type AttachOpen, attached, talk } from "../attached.js";
import { forget, get, run, type Spec, shell, withProcess, withReaper } from "../process-case.js";
import { type Row, refused, works } from "../row.js";

const { PROCESS_STATE_RUNNING } = agent.ProcessState;
const { OUTPUT_STREAM_STDOUT, OUTPUT_STREAM_STDERR } = agent.OutputStream;

/** An Attach to a process that runs `script` with stdin, refused at its opening or by what `then` says after it. */
function notAttached(
  fields: readonly string[],
  reason: string,
  name: string,
  open: AttachOpen,
  then: readonly AttachMessage[] = [],
  spec: Spec = { stdin: true },
): Row {
  return refused("Process.Attach", fields, reason, name, async (zone) => {
    await zone.bridge.process_.start({ spec: shell("exec sleep 100000", spec) }, zone.in());
    try {
      await attached(zone, { processId: "case", ...open }, (now, kind) => {
        if (kind === "opened") for (const message of then) now.send(message);
      });
    } finally {
      expect((await get(zone))?.state, "the process runs on").toBe(PROCESS_STATE_RUNNING);
      await forget(zone);
    }
  });
}

const MANY = 200_000;

export const attachRows: Row[] = [
  works(
    "Process.Attach",
    [
      ...["AttachRequest.open", "AttachOpen.spec", "AttachOpen.stdin", "ProcessSpec.stdin", "AttachRequest.stdin"],
      ...["StdinData.offset", "StdinData.data", "AttachRequest.stdin_eof", "StdinEof.offset"],
    ],
    "starts a process and carries its stdio; stdin that comes twice counts once",
    async (zone) => {
      const outcome = await run(zone, shell("cat; echo over >&2; exit 4", { stdin: true }), (now, kind) => {
        if (kind !== "opened") return;
        now.send({ stdin: { offset: 0, data: Buffer.from("abcd") } });
        now.send({ stdin: { offset: 2, data: Buffer.from("cdef") } });
        now.send({ stdinEof: { offset: 6 } });
      });
      expect(outcome).toMatchObject({ stdout: "abcdef", stderr: "over\n", code: 4, signal: 0 });
      expect(outcome.kinds.slice(-3)).toEqual(["eof", "eof", "exit"]);
      expect(outcome.kinds).toContain("stdinAck");
    },
  ),
  works(
    "Process.Attach",
    [
      ...["AttachOpen.process_id", "AttachOpen.stdout_from", "AttachOpen.stderr_from"],
      ...["AttachOpen.skip_stdout", "AttachOpen.skip_stderr"],
    ],
    "replays from where it is asked to, and leaves out what it is asked to",
    (zone) =>
      withProcess(zone, shell("echo early; echo late >&2"), async () => {
        await zone.bridge.process_.wait({ id: "case" }, zone.in());
        const both = await attached(zone, { processId: "case", stdoutFrom: 3, stderrFrom: 2 });
        expect(both).toMatchObject({ stdout: "ly\n", stderr: "te\n", code: 0 });
        const neither = await attached(zone, { processId: "case", skipStdout: true, skipStderr: true });
        expect(neither.kinds).toEqual(["opened", "eof", "eof", "exit"]);
      }),
  ),
  works("Process.Attach", ["AttachOpen.start"], "starts what was held, once it is attached", (zone) =>
    withProcess(
      zone,
      shell("echo hello"),
      async () => {
        expect(await attached(zone, { processId: "case", start: true })).toMatchObject({ stdout: "hello\n", code: 0 });
      },
      true,
    ),
  ),
  works(
    "Process.Attach",
    ["AttachOpen.spec"],
    "tells of an exec that did not happen as a shell would",
    async (zone) => {
      const { failed, kinds } = await attached(zone, { spec: shell("", { argv: argv("no-such-program") }) });
      expect({ failed, last: kinds.at(-1) }).toEqual({ failed: "EXEC_NOT_FOUND", last: "failed" });
      expect((await get(zone))?.failure).toMatchObject({ reason: "EXEC_NOT_FOUND", exitCode: 127 });
      await forget(zone);
    },
  ),
  works(
    "Process.Attach",
    ["ProcessSpec.tty", "WindowSize.rows", "WindowSize.columns", "AttachRequest.resize"],
    "carries a tty and its size",
    async (zone) => {
      const script = "trap 'stty size; exit 0' WINCH; stty size; while :; do sleep 0.1; done";
      const outcome = await run(zone, shell(script, { tty: { rows: 31, columns: 97 } }), (now, kind) => {
        if (kind === "output" && now.stdout === "31 97\r\n") now.send({ resize: { rows: 12, columns: 34 } });
      });
      expect(outcome).toMatchObject({ stdout: "31 97\r\n12 34\r\n", code: 0 });
      expect(outcome.kinds.slice(-2)).toEqual(["eof", "exit"]);
    },
  ),
  works(
    "Process.Attach",
    [
      ...["AttachRequest.ack", "OutputAck.stream", "OutputAck.offset"],
      ...["ProcessSpec.output_policy", "ProcessSpec.output_buffer_bytes"],
    ],
    "lets a process wait for who acknowledges, and loses nothing",
    async (zone) => {
      const spec = shell(`head -c ${MANY * 5} /dev/zero; echo end >&2`, {
        ...{ outputPolicy: agent.OutputPolicy.OUTPUT_POLICY_BLOCK, outputBufferBytes: 65_536 },
      });
      let unread = 0;
      let taking = false;
      const outcome = await run(zone, spec, async (now, kind) => {
        const taken = (stream: number, offset: number) => now.send({ ack: { stream, offset } });
        if (kind === "opened") {
          taken(OUTPUT_STREAM_STDOUT, 0);
          taken(OUTPUT_STREAM_STDERR, 0);
        }
        if (taking) taken(OUTPUT_STREAM_STDOUT, now.stdout.length);
        if (unread > 0 || now.stdout.length < 65_536) return;
        unread = now.stdout.length;
        await zone.out("true"); // meanwhile the process has its time
        unread = now.stdout.length;
        taking = true;
        taken(OUTPUT_STREAM_STDOUT, unread);
      });
      expect(unread).toBeLessThan(MANY * 2);
      expect({ ...outcome, stdout: outcome.stdout.length }).toMatchObject({
        stdout: MANY * 5,
        stderr: "end\n",
        gaps: [],
      });
    },
  ),
  works(
    "Process.Attach",
    ["ProcessSpec.output_policy", "ProcessSpec.output_buffer_bytes"],
    "tells who missed the oldest bytes exactly which",
    (zone) => {
      const spec = shell(`head -c ${MANY} /dev/zero`, {
        ...{ outputPolicy: agent.OutputPolicy.OUTPUT_POLICY_DROP, outputBufferBytes: 65_536 },
      });
      return withProcess(zone, spec, async () => {
        await zone.bridge.process_.wait({ id: "case" }, zone.in());
        const { gaps, stdout } = await attached(zone, { processId: "case" });
        expect(gaps).toEqual([{ from: 0, to: MANY - stdout.length }]);
        expect(stdout.length).toBeGreaterThan(0);
        expect(stdout.length).toBeLessThan(MANY);
      });
    },
  ),
  works(
    "Process.Attach",
    ["ProcessSpec.drain_grace_ms"],
    "does not wait for a descendant that holds the output",
    (zone) =>
      withReaper(zone, async (containerId) => {
        const outcome = await run(zone, shell("sleep 100000 & echo done", { containerId, drainGraceMs: 50 }));
        expect(outcome).toMatchObject({ stdout: "done\n", code: 0, heldOpen: true });
      }),
  ),

  refused("Process.Attach", ["AttachRequest.open"], "OPEN_EXPECTED", "a call that ends without `open`", (zone) =>
    talk(zone, []),
  ),
  ...(["stdin", "stdinEof", "resize", "ack"] as const).map((kind) => {
    const field = `AttachRequest.${kind === "stdinEof" ? "stdin_eof" : kind}`;
    return refused("Process.Attach", [field], "OPEN_EXPECTED", `${kind} before \`open\``, (zone) =>
      talk(zone, [{ [kind]: {} }]),
    );
  }),
  notAttached(["AttachRequest.open"], "OPEN_EXPECTED", "a second `open`", {}, [{ open: { processId: "case" } }]),
  refused("Process.Attach", ["AttachOpen.process_id"], "PROCESS_UNKNOWN", "a process that is not there", (zone) =>
    attached(zone, { processId: "none" }),
  ),
  refused("Process.Attach", ["AttachOpen.spec"], "ARGV_EMPTY", "a spec that is none", (zone) =>
    attached(zone, { spec: {} }),
  ),
  notAttached(["AttachOpen.stdin"], "STDIN_NOT_OPEN", "stdin of a process without", { stdin: true }, [], {}),
  refused("Process.Attach", ["AttachOpen.stdin"], "STDIN_HELD", "a second holder of stdin", (zone) =>
    withProcess(zone, shell("exec sleep 100000", { stdin: true }), async () => {
      let opened = () => {};
      const holding = new Promise<void>((resolve) => {
        opened = resolve;
      });
      const first = attached(zone, { processId: "case", stdin: true }, () => opened());
      await holding;
      try {
        await attached(zone, { processId: "case", stdin: true });
      } finally {
        await zone.bridge.process_.signal({ id: "case", signal: 9 }, zone.in());
        expect(await first).toMatchObject({ signal: 9 });
      }
    }),
  ),
  notAttached(["AttachOpen.stdout_from"], "OFFSET_IN_FUTURE", "bytes of stdout that are not there yet", {
    stdoutFrom: 1,
  }),
  notAttached(["AttachOpen.stderr_from"], "OFFSET_IN_FUTURE", "bytes of stderr that are not there yet", {
    stderrFrom: 1,
  }),
  notAttached(["StdinData.data"], "STDIN_NOT_OPEN", "stdin from who does not hold it", {}, [{ stdin: { offset: 0 } }]),
  notAttached(["StdinData.data"], "INVALID_SIZE", "more than 256 KiB at once", { stdin: true }, [
    { stdin: { offset: 0, data: Buffer.alloc((256 << 10) + 1) } },
  ]),
  notAttached(["StdinData.offset"], "OFFSET_IN_FUTURE", "stdin with a hole", { stdin: true }, [
    { stdin: { offset: 1, data: Buffer.from("x") } },
  ]),
  notAttached(["StdinEof.offset"], "OFFSET_IN_FUTURE", "an end beyond what was sent", { stdin: true }, [
    { stdinEof: { offset: 1 } },
  ]),
  notAttached(["StdinEof.offset"], "INVALID_OFFSET", "an end before what was sent", { stdin: true }, [
    { stdin: { offset: 0, data: Buffer.from("xy") } },
    { stdinEof: { offset: 1 } },
  ]),
  notAttached(["OutputAck.stream"], "INVALID_OFFSET", "an acknowledgement of no stream", {}, [{ ack: { offset: 0 } }]),
  notAttached(["OutputAck.offset"], "INVALID_OFFSET", "an acknowledgement of what was not sent", {}, [
    { ack: { stream: OUTPUT_STREAM_STDOUT, offset: 1 } },
  ]),
  notAttached(["AttachRequest.resize"], "NO_TTY", "a size for what has no tty", {}, [
    { resize: { rows: 1, columns: 1 } },
  ]),
];
