import { createHash } from "node:crypto";
import { createClient, ProcessService, type ZoneError } from "@zone/proto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Exec } from "./testing/exec.js";
import { RunningAgent } from "./testing/running-agent.js";

const MIB = 1024 * 1024;
let agent: RunningAgent;
beforeAll(async () => {
  agent = await RunningAgent.start();
});
afterAll(async () => {
  expect(await agent.stop()).toBe(0);
});

const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");
const script = (text: string) => ["/bin/sh", "-c", text].map((argument) => Buffer.from(argument));

describe("output", () => {
  it("arrives whole before the exit: 8 MiB in a burst", async () => {
    const exec = agent.shell(
      'dd if=/dev/urandom of="$T" bs=1M count=8 2>/dev/null; cat "$T"; sha256sum "$T" >&2; exit 3',
      {
        spec: { env: [Buffer.from(`T=${agent.directory}/burst`)] },
      },
    );
    const result = await exec.result;
    expect(result.stdout).toHaveLength(8 * MIB);
    expect(sha256(result.stdout)).toBe(result.stderr.toString().split(" ")[0]);
    expect([result.code, result.signal]).toEqual([3, 0]);
    expect(result.order.slice(-3)).toEqual(["eof", "eof", "exit"]);
    expect(result.eofs).toContainEqual({ stream: 1, offset: 8 * MIB, heldOpen: false });
  });

  it("is bytes, not text", async () => {
    const result = await agent.shell("printf '\\377\\000\\200a'").result;
    expect(result.stdout).toEqual(Buffer.from([0xff, 0, 0x80, 0x61]));
  });

  it("does not wait for ever for a descendant that holds stdout open, and loses nothing before", async () => {
    const exec = agent.shell("(sleep 600 & echo $!); echo done", { spec: { drainGraceMs: 300 } });
    const result = await exec.result;
    const [sleeper, done] = result.stdout.toString().split("\n");
    expect(done).toBe("done");
    process.kill(Number(sleeper), "SIGKILL");
    expect(result.code).toBe(0);
    expect(result.eofs).toContainEqual({ stream: 1, offset: result.stdout.length, heldOpen: true });
  });

  it("is replayed to a client that attaches late", async () => {
    const { process: started } = await agent.processes.start({ spec: { argv: script("echo early; echo late >&2") } });
    const id = started?.id ?? "";
    await agent.processes.wait({ id });
    const result = await agent.exec({ processId: id }).result;
    expect([result.stdout.toString(), result.stderr.toString(), result.code]).toEqual(["early\n", "late\n", 0]);
    const part = await agent.exec({ processId: id, stdoutFrom: 3, skipStderr: true }).result;
    expect([part.stdout.toString(), part.stderr.toString()]).toEqual(["ly\n", ""]);
    expect(part.eofs.map((eof) => eof.stream).sort()).toEqual([1, 2]);
    const future = agent.exec({ processId: id, stdoutFrom: 7 });
    await expect(future.result).rejects.toMatchObject({ code: "OUT_OF_RANGE", reason: "OFFSET_IN_FUTURE" });
  });

  it("goes to all who are attached, from before the start", async () => {
    await agent.processes.start({ spec: { id: "both", argv: script("seq 1 100000") }, hold: true });
    const [first, second] = [agent.exec({ processId: "both" }), agent.exec({ processId: "both" })];
    await Promise.all([first.opened, second.opened]);
    expect((await agent.processes.get({ id: "both" })).process).toMatchObject({ state: 1, attached: 2 });
    await agent.processes.start({ id: "both" });
    const results = await Promise.all([first.result, second.result]);
    expect(results[0]?.stdout).toHaveLength(588_895);
    expect(results[1]?.stdout.equals(results[0]?.stdout ?? Buffer.alloc(0))).toBe(true);
  });

  it("blocks the writer while a client is slow, in flat memory, and loses nothing", async () => {
    const session = await agent.connect();
    const slow = new Exec(createClient(ProcessService, session.client), {
      spec: { id: "slow", argv: script("head -c 67108864 /dev/zero; echo end") },
      paused: true,
    });
    // It runs until every buffer between it and us is full, and then no further.
    let before = -1;
    for (;;) {
      const bytes = Number((await agent.processes.get({ id: "slow" })).process?.stdoutBytes ?? 0);
      if (bytes === before && bytes > 0) break;
      before = bytes;
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    expect(before).toBeLessThan(8 * MIB);
    const rss = agent.rss();
    slow.call.resume();
    const result = await slow.result;
    expect(result.stdout).toHaveLength(64 * MIB + 4);
    expect(agent.rss() - rss).toBeLessThan(32 * MIB);
    await session.close();
  });

  it("waits for a client that acknowledges, and tells no lies when it never does", async () => {
    const exec = agent.shell("head -c 300000 /dev/zero; echo end", { spec: { outputBufferBytes: 65_536 } });
    exec.call.write({ ack: { stream: 1, offset: 0 } });
    await exec.until(() => exec.position() >= 65_536);
    const acknowledge = setInterval(() => exec.call.write({ ack: { stream: 1, offset: exec.position() } }), 1);
    const result = await exec.result;
    clearInterval(acknowledge);
    expect(result.stdout).toHaveLength(300_004);
    expect(result.gaps).toEqual([]);
  });

  it("refuses an acknowledgement of what was never sent", async () => {
    const exec = agent.shell("sleep 600");
    const { id } = await exec.opened;
    exec.call.write({ ack: { stream: 1, offset: 1 } });
    await expect(exec.result).rejects.toMatchObject({ reason: "INVALID_OFFSET" });
    await agent.processes.signal({ id, signal: 9 });
  });

  it("drops the oldest bytes with DROP, and a gap says which", async () => {
    const { process: started } = await agent.processes.start({
      spec: { argv: script("seq 1 100000"), outputPolicy: 2, outputBufferBytes: 65_536 },
    });
    const id = started?.id ?? "";
    const { process: ended } = await agent.processes.wait({ id });
    expect(Number(ended?.stdoutBytes)).toBe(588_895);
    const result = await agent.exec({ processId: id }).result;
    expect(result.gaps).toEqual([{ stream: 1, from: 0, to: 588_895 - result.stdout.length }]);
    expect(result.stdout.length).toBeLessThanOrEqual(65_536);
    expect(result.stdout.subarray(-7).toString()).toBe("100000\n");
  });

  it("goes on where it was after a lost link, nothing twice and nothing missing", async () => {
    const first = agent.shell("seq 1 200000", { spec: { id: "again", outputBufferBytes: 65_536 } });
    first.call.write({ ack: { stream: 1, offset: 0 } });
    await first.until(() => first.position() > 20_000);
    const at = first.position();
    first.call.write({ ack: { stream: 1, offset: at } });
    await first.drop();
    const kept = first.output().subarray(0, at);
    const second = agent.exec({ processId: "again", stdoutFrom: at });
    const result = await second.result;
    expect(result.gaps).toEqual([]);
    const expected = Array.from({ length: 200_000 }, (_, index) => `${index + 1}\n`).join("");
    expect(sha256(Buffer.concat([kept, result.stdout]))).toBe(sha256(Buffer.from(expected)));
  });
});

describe("stdin", () => {
  it("reaches the process, is acknowledged, and ends", async () => {
    const exec = agent.shell("cat; echo end", { spec: { stdin: true }, stdin: true });
    await exec.opened;
    exec.send("hello ");
    exec.send("world\n");
    await exec.until(() => exec.stdinAcks.some(({ offset }) => offset === 12));
    exec.sendEof();
    expect((await exec.result).stdout.toString()).toBe("hello world\nend\n");
    expect(exec.stdinAcks.at(-1)).toEqual({ offset: 12, closed: true });
  });

  it("carries 8 MiB through cat unchanged", async () => {
    const exec = agent.exec({ spec: { argv: [Buffer.from("/bin/cat")], stdin: true }, stdin: true });
    await exec.opened;
    const data = Buffer.alloc(8 * MIB, "0123456789abcdef!");
    for (let at = 0; at < data.length; at += 65_536) {
      exec.send(data.subarray(at, at + 65_536));
      await exec.until(() => at + 65_536 - (exec.stdinAcks.at(-1)?.offset ?? 0) <= MIB);
    }
    exec.sendEof();
    expect(sha256((await exec.result).stdout)).toBe(sha256(data));
  });

  it("is held by one client at a time, survives it, and resumes at its offset", async () => {
    const first = agent.shell("cat", { spec: { id: "held", stdin: true }, stdin: true });
    await first.opened;
    const second = agent.exec({ processId: "held", stdin: true });
    await expect(second.result).rejects.toMatchObject({ reason: "STDIN_HELD" });
    first.send("one ");
    await first.until(() => first.stdinAcks.length > 0);
    await first.drop();
    const third = agent.exec({ processId: "held", stdin: true });
    expect((await third.opened).stdinOffset).toBe(4);
    third.call.write({ stdin: { offset: 0, data: Buffer.from("one two") } });
    third.call.write({ stdinEof: { offset: 7 } });
    expect((await third.result).stdout.toString()).toBe("one two");
  });

  it("is free again when the holder's link is lost", async () => {
    const session = await agent.connect();
    const first = new Exec(createClient(ProcessService, session.client), {
      spec: { id: "lost", argv: script("cat"), stdin: true },
      stdin: true,
    });
    await first.opened;
    await session.close();
    await expect(first.result).rejects.toMatchObject({ code: "UNAVAILABLE" });
    for (;;) {
      const second = agent.exec({ processId: "lost", stdin: true });
      const held = await second.opened.then(() => false).catch((error: ZoneError) => error.reason === "STDIN_HELD");
      if (held) continue; // the agent has not seen the end of the link yet
      expect((await agent.processes.get({ id: "lost" })).process?.attached).toBe(1);
      second.sendEof();
      expect((await second.result).code).toBe(0);
      return;
    }
  });

  it("says so when it cannot be written", async () => {
    const without = agent.shell("cat; echo end");
    expect((await without.result).stdout.toString()).toBe("end\n");
    const wrong = agent.shell("sleep 600", { stdin: true });
    await expect(wrong.result).rejects.toMatchObject({ reason: "STDIN_NOT_OPEN" });
    const future = agent.shell("cat", { spec: { stdin: true }, stdin: true });
    future.call.write({ stdin: { offset: 5, data: Buffer.from("x") } });
    await expect(future.result).rejects.toMatchObject({ reason: "OFFSET_IN_FUTURE" });
  });

  it("tells a writer that the process has closed it", async () => {
    const exec = agent.shell("exec <&-; echo closed; sleep 600", { spec: { id: "epipe", stdin: true }, stdin: true });
    await exec.untilOutput("closed");
    exec.send("x");
    await exec.until(() => exec.stdinAcks.some(({ closed }) => closed));
    exec.send("more is ignored");
    await agent.processes.signal({ id: "epipe", signal: 15, group: true });
    expect((await exec.result).signal).toBe(15);
  });

  it("ends by CloseStdin, as often as wanted", async () => {
    const exec = agent.shell("cat; echo end", { spec: { id: "close", stdin: true } });
    await exec.opened;
    await agent.processes.closeStdin({ id: "close" });
    await agent.processes.closeStdin({ id: "close" });
    expect((await exec.result).stdout.toString()).toBe("end\n");
  });

  it("does not stop output while the process does not read", async () => {
    const exec = agent.shell("echo first; sleep 0.2; echo second; sleep 600", {
      spec: { id: "deaf", stdin: true },
      stdin: true,
    });
    await exec.opened;
    for (let i = 0; i < 40; i++) exec.send(Buffer.alloc(65_536));
    await exec.untilOutput("second");
    await agent.processes.signal({ id: "deaf", signal: 9, group: true });
    expect((await exec.result).signal).toBe(9);
  });
});
