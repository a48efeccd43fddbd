import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { api } from "../messages.js";
import { CliFixture, eventually } from "../testing/zonectl.js";

let cli: CliFixture;
beforeAll(async () => {
  cli = await CliFixture.make();
}, 60_000);
afterAll(() => cli.close());
afterEach(() => {
  for (const zone of cli.bridge.zones.values()) zone.end(api.EndCause.END_CAUSE_STOPPED, 137);
  cli.bridge.zones.clear();
});

const sh = (script: string) => ["run", "--rm", "busybox", "sh", "-c", script];

describe("run, when the link is lost", { timeout: 60_000 }, () => {
  it.each([true, false])("reports a zone whose kernel panicked, removed or not (--rm: %s)", async (rm) => {
    const calls = cli.bridge.calls.length;
    const { child, result } = cli.start([
      "run",
      ...(rm ? ["--rm"] : []),
      "--name",
      "p",
      "busybox",
      "sh",
      "-c",
      "echo ready; exec sleep 1000",
    ]);
    await new Promise((resolve) => child.stdout.once("data", resolve));
    if (rm) await eventually(() => cli.bridge.calls.slice(calls).includes("wait"));
    const zone = cli.bridge.zone("p");
    zone.processes.get("main")?.listeners.clear(); // its exit never comes
    cli.bridge.breakAttachments();
    zone.end(api.EndCause.END_CAUSE_PANIC, 125, "sysrq");
    const { code, stderr } = await result;
    expect(stderr.split("\n").at(-2)).toBe("zonectl: zone p ended: sysrq; see `zonectl logs --system p`");
    expect(code).toBe(125);
  });

  it("says when it cannot know how a zone ended", async () => {
    const { child, result } = cli.start([
      "run",
      "--rm",
      "--name",
      "p",
      "busybox",
      "sh",
      "-c",
      "echo ready; exec sleep 1000",
    ]);
    await new Promise((resolve) => child.stdout.once("data", resolve));
    const zone = cli.bridge.zone("p");
    cli.bridge.drop();
    zone.end(api.EndCause.END_CAUSE_LOST, 125);
    await cli.bridge.listen();
    const { code, stderr } = await result;
    expect(stderr).toBe(
      "zonectl: zone p ended and was removed while its link was down: the exit status is not known\n",
    );
    expect(code).toBe(125);
  });

  it("goes on byte for byte after a lost link", async () => {
    const script = "i=0; while [ $i -lt 200 ]; do echo line $i; i=$((i+1)); sleep 0.01; done";
    const { child, result } = cli.start(sh(script));
    for (let drops = 0; drops < 3; drops++) {
      await new Promise((resolve) => child.stdout.once("data", resolve));
      cli.bridge.drop();
      await cli.bridge.listen();
    }
    const { code, stdout, stderr } = await result;
    expect(stderr).toBe("");
    expect(code).toBe(0);
    expect(stdout.toString()).toBe(Array.from({ length: 200 }, (_, i) => `line ${i}\n`).join(""));
  });

  it("loses and doubles no stdin over a lost link", async () => {
    const input = Buffer.from(Array.from({ length: 6_000_000 }, (_, i) => (i * 31) % 241));
    const { child, result } = cli.start(["run", "--rm", "-i", "busybox", "cat"]);
    child.stdin.write(input.subarray(0, 3_000_000));
    await new Promise((resolve) => child.stdout.once("data", resolve));
    cli.bridge.drop();
    await cli.bridge.listen();
    child.stdin.end(input.subarray(3_000_000));
    const { code, stdout } = await result;
    expect(code).toBe(0);
    expect(stdout.equals(input)).toBe(true);
  });

  it("takes the rest of the output from the log when the process ended while the link was down", async () => {
    const script = "echo first; while [ -e $GO ]; do sleep 0.01; done; echo second; echo third >&2; exit 6";
    const go = join(cli.folder, "go");
    writeFileSync(go, "");
    const { child, result } = cli.start(["run", "--name", "short", "-e", `GO=${go}`, "busybox", "sh", "-c", script]);
    await new Promise((resolve) => child.stdout.once("data", resolve));
    const zone = cli.bridge.zone("short");
    cli.bridge.drop();
    rmSync(go);
    await zone.ended;
    const main = zone.processes.get("main");
    // What the real bridge does not do either: serve processes of a zone that has ended.
    zone.processes.clear();
    cli.bridge.logs.set(zone.message.id, main?.outputs ?? []);
    await cli.bridge.listen();
    expect(await result).toMatchObject({ code: 6, stdout: Buffer.from("first\nsecond\n"), stderr: "third\n" });
  });

  it("stops waiting for a lost link at Ctrl-C", async () => {
    const { child, result } = cli.start(["run", "--name", "cut", "busybox", "sh", "-c", "echo ready; exec sleep 1000"]);
    await new Promise((resolve) => child.stdout.once("data", resolve));
    cli.bridge.drop();
    // A signal at once would still be passed on, or lost with the call; what counts is that repeating it helps.
    const again = setInterval(() => child.kill("SIGINT"), 100);
    const { code } = await result;
    clearInterval(again);
    await cli.bridge.listen();
    expect(code).toBe(130);
    expect(cli.bridge.zone("cut").processes.get("main")?.state).toBe("running");
  });
});
