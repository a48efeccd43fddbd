import { agent, type zone as messages } from "@zone/proto";
import { expect } from "vitest";
import { argv } from "../../harness/exec.js";
import { attached } from "../attached.js";
import { get, shell, withProcess, withReaper } from "../process-case.js";
import { type Row, refused, works } from "../row.js";
import { attachRows } from "./process-attach.js";
import { startRows } from "./process-start.js";

const { PROCESS_STATE_EXITED } = agent.ProcessState;

const others: Row[] = [
  works(
    "Process.Signal",
    ["SignalRequest.id", "SignalRequest.signal", "SignalRequest.group"],
    "ends a whole group",
    (zone) =>
      withReaper(zone, async (containerId) => {
        await withProcess(zone, shell("sleep 100000; exit 1", { containerId }), async () => {
          await zone.bridge.process_.signal({ id: "case", signal: 15, group: true }, zone.in());
          // The sleep would hold stdout open if it still ran.
          expect(await attached(zone, { processId: "case" })).toMatchObject({ signal: 15, heldOpen: false });
        });
      }),
  ),
  works("Process.Signal", ["SignalRequest.signal"], "reaches a handler", (zone) =>
    withProcess(zone, shell("trap 'exit 7' USR1; echo set; while :; do sleep 0.1; done"), async () => {
      const outcome = attached(zone, { processId: "case" }, (_, kind) => {
        if (kind === "output") void zone.bridge.process_.signal({ id: "case", signal: 10 }, zone.in());
      });
      expect(await outcome).toMatchObject({ code: 7, signal: 0 });
    }),
  ),
  refused("Process.Signal", ["SignalRequest.signal"], "INVALID_SIGNAL", "signal 65", (zone) =>
    zone.bridge.process_.signal({ id: "main", signal: 65 }, zone.in()),
  ),
  refused("Process.Signal", ["SignalRequest.id"], "PROCESS_NOT_RUNNING", "a process that has ended", (zone) =>
    withProcess(zone, shell("exit 0"), async () => {
      await zone.bridge.process_.wait({ id: "case" }, zone.in());
      await zone.bridge.process_.signal({ id: "case", signal: 15 }, zone.in());
    }),
  ),

  works("Process.Wait", ["WaitRequest.id"], "answers all who wait, and at once when it is over", (zone) =>
    withProcess(
      zone,
      shell("exit 5"),
      async () => {
        const wait = () => zone.bridge.process_.wait({ id: "case" }, zone.in());
        const waiting = [wait(), wait()];
        await zone.bridge.process_.start({ id: "case" }, zone.in());
        for (const { process } of [...(await Promise.all(waiting)), await wait()])
          expect(process).toMatchObject({ state: PROCESS_STATE_EXITED, exit: { code: 5 } });
      },
      true,
    ),
  ),
  works(
    "Process.List",
    ["ListRequest.container_id"],
    "knows processes of a container, kept and running",
    async (zone) => {
      const { processes, tasks } = await zone.bridge.process_.list({ containerId: "main" }, zone.in());
      expect(processes.map(({ id }) => id)).toContain("main");
      const command = (task: messages.agent.v1.RunningTask.$Properties) => Buffer.from(task.command ?? []).toString();
      expect(tasks.filter(({ containerPid }) => containerPid === 1).map(command)).toEqual(["sleep 100000"]);
      const all = await zone.bridge.process_.list({}, zone.in());
      expect(all.tasks.map(command)).toContain("/bin/node /usr/lib/zone/agent.mjs");
      expect(tasks.map(command)).not.toContain("/bin/node /usr/lib/zone/agent.mjs");
    },
  ),
  works("Process.Get", ["GetRequest.id"], "tells what a process is and has done", (zone) =>
    withProcess(zone, shell("echo hello; exit 3", { tty: { rows: 1, columns: 1 } }), async () => {
      await zone.bridge.process_.wait({ id: "case" }, zone.in());
      expect(await get(zone)).toMatchObject({
        ...{ id: "case", containerId: "main", state: PROCESS_STATE_EXITED, exit: { code: 3 } },
        ...{ tty: true, stdoutBytes: 7, argv: argv("/bin/sh", "-c", "echo hello; exit 3") },
      });
    }),
  ),
  works("Process.ResizeTty", ["ResizeTtyRequest.id", "ResizeTtyRequest.size"], "sets the size", (zone) =>
    withProcess(zone, shell("read; stty size", { tty: { rows: 1, columns: 1 }, stdin: true }), async () => {
      await zone.bridge.process_.resizeTty({ id: "case", size: { rows: 43, columns: 21 } }, zone.in());
      const outcome = await attached(zone, { processId: "case", stdin: true }, (now, kind) => {
        if (kind === "opened") now.send({ stdin: { offset: 0, data: Buffer.from("\n") } });
      });
      expect(outcome.stdout).toBe("\r\n43 21\r\n");
    }),
  ),
  refused("Process.ResizeTty", ["ResizeTtyRequest.id"], "NO_TTY", "a process without a tty", (zone) =>
    zone.bridge.process_.resizeTty({ id: "main", size: { rows: 1, columns: 1 } }, zone.in()),
  ),
  refused("Process.ResizeTty", ["ResizeTtyRequest.size"], "INVALID_SIZE", "no size", (zone) =>
    withProcess(zone, shell("exec sleep 100000", { tty: { rows: 1, columns: 1 } }), async () => {
      await zone.bridge.process_.resizeTty({ id: "case" }, zone.in());
    }),
  ),
  works("Process.CloseStdin", ["CloseStdinRequest.id"], "ends stdin, and again is no error", (zone) =>
    withProcess(zone, shell("cat; echo over", { stdin: true }), async () => {
      const close = () => zone.bridge.process_.closeStdin({ id: "case" }, zone.in());
      await close();
      await close();
      expect(await attached(zone, { processId: "case" })).toMatchObject({ stdout: "over\n", code: 0 });
    }),
  ),
  works("Process.Delete", ["DeleteRequest.id"], "forgets one that was never started", async (zone) => {
    await zone.bridge.process_.start({ spec: shell("exit 0"), hold: true }, zone.in());
    await zone.bridge.process_.delete({ id: "case" }, zone.in());
    await expect(get(zone)).rejects.toMatchObject({ reason: "PROCESS_UNKNOWN" });
  }),
  refused("Process.Delete", ["DeleteRequest.id"], "PROCESS_RUNNING", "one that runs", (zone) =>
    zone.bridge.process_.delete({ id: "main" }, zone.in()),
  ),
  ...(["wait", "get", "closeStdin", "delete", "resizeTty"] as const).map((method) => {
    const name = `${method[0]?.toUpperCase()}${method.slice(1)}`;
    const request = { id: "none", ...(method === "resizeTty" ? { size: { rows: 1, columns: 1 } } : {}) };
    return refused(`Process.${name}`, [`${name}Request.id`], "PROCESS_UNKNOWN", "a process that is not there", (zone) =>
      zone.bridge.process_[method](request, zone.in()),
    );
  }),
];

export const processRows: Row[] = [...startRows, ...attachRows, ...others];
