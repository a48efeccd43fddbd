import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { UNCOUNTED_BYTES } from "./process/offset-file.js";
import { tokenGenerations } from "./process/recovery.js";
import { RunningAgent } from "./testing/running-agent.js";

let agent: RunningAgent;
beforeEach(async () => {
  agent = await RunningAgent.start();
});
afterEach(async () => {
  expect(await agent.stop()).toBe(0);
});

const script = (text: string) => ["/bin/sh", "-c", text].map((word) => Buffer.from(word));

describe("an agent that was killed", () => {
  it("comes back to running processes and goes on with their stdio", async () => {
    const exec = agent.shell("echo one; cat; echo end; exit 5", { spec: { id: "kept", stdin: true }, stdin: true });
    await exec.untilOutput("one");
    exec.send("zero\n");
    await exec.untilOutput("zero\n");
    await exec.until(() => exec.stdinAcks.length > 0);
    const { process: before } = await agent.processes.get({ id: "kept" });
    await agent.killAgent();
    await expect(exec.result).rejects.toMatchObject({ code: "UNAVAILABLE" });

    const { process: after } = await agent.processes.get({ id: "kept" });
    expect(after).toMatchObject({ id: "kept", state: 3, pid: before?.pid });
    expect(after?.argv?.map(String)).toEqual(["/bin/sh", "-c", "echo one; cat; echo end; exit 5"]);
    const again = agent.exec({ processId: "kept", stdoutFrom: 9, stdin: true });
    expect((await again.opened).stdinOffset).toBe(5);
    again.send("two\n");
    again.sendEof();
    const result = await again.result;
    expect(result.stdout.toString()).toBe("two\nend\n");
    // Nothing twice, and nothing missing without a gap.
    expect(result.gaps).toEqual([
      { stream: 1, from: 9, to: 9 + UNCOUNTED_BYTES },
      { stream: 2, from: 0, to: UNCOUNTED_BYTES },
    ]);
    expect(result.code).toBe(5);
    await agent.processes.delete({ id: "kept" });
    expect((await agent.system.info({})).agentRestarts).toBe(1);
  });

  it("reports the exits that it missed, with the output that was left", async () => {
    const fifo = `${agent.directory}/go`;
    await agent.processes.start({ spec: { id: "missed", argv: script(`mkfifo ${fifo}; cat ${fifo}; exit 42`) } });
    await agent.processes.start({ spec: { id: "early", argv: script("echo left; exit 3") } });
    await agent.processes.wait({ id: "early" });
    const ends = agent.shell(
      `echo runs; while kill -0 ${agent.agentPid} 2>/dev/null; do :; done; echo -n left > ${fifo}`,
    );
    // A spawn that is still under way when its agent ends is undone.
    await ends.untilOutput("runs");
    await agent.killAgent();
    const { process: missed } = await agent.processes.wait({ id: "missed" });
    expect(missed?.exit).toMatchObject({ code: 42 });
    expect((await agent.exec({ processId: "missed" }).result).stdout.toString()).toBe("left");
    expect((await agent.processes.wait({ id: "early" })).process?.exit).toMatchObject({ code: 3 });
  });

  it("loses nothing of a stream at full speed without a gap that covers it", async () => {
    const lines = 3_000_000;
    const exec = agent.shell(`seq 1 ${lines}`, { spec: { id: "fast" } });
    await exec.until(() => exec.position() > 1_000_000);
    await agent.killAgent();
    await exec.result.catch(() => {});
    const again = await agent.exec({ processId: "fast", stdoutFrom: exec.position() }).result;
    expect(again.gaps).toHaveLength(2);
    const [gap] = again.gaps;
    // The numbers before and after the gap tell how many bytes are really missing.
    const text = again.stdout.toString("latin1");
    const offsetOf = (line: number) =>
      Array.from(String(line)).reduce((sum, _, digits) => sum + (line - 10 ** digits), line - 1);
    const first = text.indexOf("\n") + 1;
    const missing = offsetOf(Number(text.slice(first, text.indexOf("\n", first)))) - first - exec.position();
    expect(missing).toBeGreaterThanOrEqual(0);
    expect(missing).toBeLessThanOrEqual((gap?.to ?? 0) - (gap?.from ?? 0));
    expect(text.endsWith(`\n${lines}\n`)).toBe(true);
  });

  it("keeps a tty, its size and its control", async () => {
    const tty = { rows: 20, columns: 40 };
    const exec = agent.shell("stty -echo; echo ready; read line; stty size; exit 9", {
      spec: { id: "tty", tty, stdin: true },
      stdin: true,
    });
    await exec.untilOutput("ready");
    await agent.killAgent();
    await agent.processes.resizeTty({ id: "tty", size: { rows: 21, columns: 41 } });
    const again = agent.exec({ processId: "tty", stdin: true, stdoutFrom: exec.position() });
    await again.opened;
    again.send("go\n");
    const result = await again.result;
    expect(result.stdout.toString()).toBe("21 41\r\n");
    expect(result.code).toBe(9);
  });

  it("comes back again and again, and never gives an id or a token twice", async () => {
    for (let restarts = 0; restarts < 3; restarts++) {
      await agent.processes.start({ spec: { argv: script("sleep 600") } });
      await agent.killAgent();
    }
    const { processes } = await agent.processes.list({});
    expect(processes?.map(({ id }) => id)).toEqual(["p1", "p1-1", "p2-1"]);
    for (const { id } of processes ?? []) {
      await agent.processes.signal({ id, signal: 9 });
      expect((await agent.processes.wait({ id })).process?.exit?.signal).toBe(9);
      await agent.processes.delete({ id });
    }
  });
});

describe("tokens", () => {
  it("of two generations never meet", () => {
    const [first, second] = [tokenGenerations(0), tokenGenerations(1)];
    expect([first(), first(), second()]).toEqual([1n, 2n, (1n << 32n) + 1n]);
  });
});
