import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { RunningAgent } from "./testing/running-agent.js";

let agent: RunningAgent;
beforeAll(async () => {
  agent = await RunningAgent.start();
});
afterAll(async () => {
  expect(await agent.stop()).toBe(0);
});

describe("a tty", () => {
  const tty = { rows: 31, columns: 97 };

  it("has its size before the first byte, and one output stream", async () => {
    const result = await agent.shell("stty size; tty; echo err >&2", { spec: { tty } }).result;
    expect(result.stdout.toString()).toMatch(/^31 97\r\n\/dev\/pts\/\d+\r\nerr\r\n$/);
    expect(result.eofs.map((eof) => eof.stream)).toEqual([1]);
  });

  it("is resized, with SIGWINCH", async () => {
    const exec = agent.shell("trap 'stty size; exit' WINCH; echo ready; while :; do sleep 0.05; done", {
      spec: { id: "win", tty },
    });
    await exec.untilOutput("ready");
    exec.call.write({ resize: { rows: 50, columns: 132 } });
    expect((await exec.result).stdout.toString()).toContain("50 132\r\n");
    await expect(agent.processes.resizeTty({ id: "win", size: tty })).rejects.toMatchObject({
      reason: "PROCESS_NOT_RUNNING",
    });
  });

  for (const [what, text] of [
    ["a whole line", "line\n"],
    ["part of a line", "part"],
    ["nothing", ""],
  ] as const) {
    it(`delivers EOF after ${what}`, async () => {
      const exec = agent.shell("stty -echo; echo ready; wc -c", { spec: { tty, stdin: true }, stdin: true });
      await exec.untilOutput("ready");
      if (text) exec.send(text);
      exec.sendEof();
      const result = await exec.result;
      expect(result.stdout.toString().trim().split(/\s+/)).toEqual(["ready", String(text.length)]);
      expect(result.code).toBe(0);
    });
  }

  it("is the controlling terminal: control-C interrupts", async () => {
    const exec = agent.shell("trap 'exit 42' INT; echo ready; while :; do sleep 0.05; done", {
      spec: { tty, stdin: true },
      stdin: true,
    });
    await exec.untilOutput("ready");
    exec.send("\u0003");
    expect((await exec.result).code).toBe(42);
  });

  it("is refused for a process without one, and bad sizes are", async () => {
    const exec = agent.shell("sleep 600", { spec: { id: "notty" } });
    await exec.opened;
    await expect(agent.processes.resizeTty({ id: "notty", size: tty })).rejects.toMatchObject({ reason: "NO_TTY" });
    await expect(agent.processes.resizeTty({ id: "notty", size: {} })).rejects.toMatchObject({
      reason: "INVALID_SIZE",
    });
    await agent.processes.signal({ id: "notty", signal: 9, group: true });
  });
});
