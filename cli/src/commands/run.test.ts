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
  delete cli.bridge.gates.create;
  delete cli.bridge.gates.start;
});

const sh = (script: string) => ["run", "--rm", "busybox", "sh", "-c", script];
const never = () => new Promise<void>(() => {});

describe("run", { timeout: 60_000 }, () => {
  it("passes stdout, stderr and the exit code through", async () => {
    const result = await cli.run(sh("echo out; echo err >&2; exit 7"));
    expect(result).toMatchObject({ code: 7, stdout: Buffer.from("out\n"), stderr: "err\n" });
    expect(cli.bridge.zones.size).toBe(0);
  });

  it("says 128 + n for a signal", async () => {
    expect((await cli.run(sh("kill -9 $$"))).code).toBe(137);
  });

  it("says 127 for what is not found and 126 for what cannot run", async () => {
    const missing = await cli.run(["run", "--rm", "busybox", "no-such-program"]);
    expect(missing).toMatchObject({ code: 127, stderr: "zonectl: cannot run no-such-program: not found\n" });
    expect((await cli.run(["run", "-d", "busybox", "no-such-program"])).code).toBe(127);
    expect((await cli.run(["run", "--rm", "busybox", "/etc/passwd"])).code).toBe(126);
  });

  it("keeps arguments byte for byte", async () => {
    const line = `zonectl run --rm busybox -- printf '<%s>' $'\\xff\\xfe' '' $'two\\nlines' -x --rm -- 'ü'`;
    const { stdout } = await cli.shell(line);
    const expected = [Buffer.from([0xff, 0xfe]), "", "two\nlines", "-x", "--rm", "--", "ü"];
    expect(stdout).toEqual(
      Buffer.concat(expected.map((arg) => Buffer.concat([Buffer.from("<"), Buffer.from(arg), Buffer.from(">")]))),
    );
  });

  it("passes 100 KiB arguments", async () => {
    const { stdout } = await cli.run(["run", "--rm", "busybox", "printf", "%s", "x".repeat(100_000)]);
    expect(stdout.length).toBe(100_000);
  });

  it("takes the environment from -e, files and its own, as bytes", async () => {
    const file = join(cli.folder, "env");
    writeFileSync(file, "# comment\nFILE=1\nBOTH=file\n");
    const line = `export OWN=$'\\xff\\nx'; zonectl run --rm -e A=1 -e OWN -e NOT_SET -e BOTH=option --env-file ${file} -eRAW=$'\\xfe' busybox env -0`;
    const { stdout } = await cli.shell(line);
    const env = new Map(
      stdout
        .toString("latin1")
        .split("\0")
        .map((entry) => [entry.slice(0, entry.indexOf("=")), entry.slice(entry.indexOf("=") + 1)]),
    );
    expect(env.get("A")).toBe("1");
    expect(env.get("FILE")).toBe("1");
    expect(env.get("BOTH")).toBe("option");
    expect(env.get("OWN")).toBe("\xff\nx");
    expect(env.get("RAW")).toBe("\xfe");
    expect(env.has("NOT_SET")).toBe(false);
  });

  it("feeds stdin and its end with -i, and none without", async () => {
    const input = Buffer.from(Array.from({ length: 3_000_000 }, (_, i) => (i * 7) % 251));
    const fed = await cli.run(["run", "--rm", "-i", "busybox", "cat"], { input });
    expect(fed.code).toBe(0);
    expect(fed.stdout.equals(input)).toBe(true);
    expect((await cli.run(["run", "--rm", "busybox", "cat"], { input: "ignored" })).stdout.length).toBe(0);
  });

  it("never lets acknowledgements of output wait behind stdin that the process does not read", async () => {
    const go = join(cli.folder, "go");
    writeFileSync(go, "");
    const script = "while [ -e $GO ]; do sleep 0.01; done; head -c 5000000 /dev/zero; wc -c >&2";
    const { child, result } = cli.start(["run", "--rm", "-i", "-e", `GO=${go}`, "busybox", "sh", "-c", script]);
    child.stdin.end(Buffer.alloc(6_000_000));
    await eventually(() => cli.bridge.zones.size > 0 && cli.bridge.only.processes.has("main"));
    const main = cli.bridge.only.processes.get("main");
    // All that zonectl sends unacknowledged has come when nothing more does.
    let before = -1;
    while (before !== main?.stdinTaken || before < 500_000) {
      before = main?.stdinTaken ?? 0;
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    rmSync(go);
    const { code, stdout, stderr } = await result;
    // Not by an assertion of vitest's, which takes a minute to compare so many bytes.
    const complete = stdout.equals(Buffer.alloc(5_000_000));
    expect({ code, complete, stderr }).toEqual({ code: 0, complete: true, stderr: "6000000\n" });
  });

  it("is content when the process closes stdin early", async () => {
    const result = await cli.run(["run", "--rm", "-i", "busybox", "sh", "-c", "exec <&-; echo done"], {
      input: Buffer.alloc(4_000_000),
    });
    expect(result).toMatchObject({ code: 0, stdout: Buffer.from("done\n") });
  });

  it("loses nothing of a burst before the exit", async () => {
    const { stdout, code } = await cli.run(sh("head -c 8388608 /dev/zero; exit 3"));
    expect(code).toBe(3);
    expect(stdout.length).toBe(8 * 1024 * 1024);
  });

  it("slows the process down when its output is not read", async () => {
    const { child, result } = cli.start(sh("head -c 20000000 /dev/zero"));
    child.stdout.pause();
    await eventually(
      () =>
        (cli.bridge.zones.size > 0 ? (cli.bridge.only.processes.get("main")?.outputs[0]?.bytes.length ?? 0) : 0) >
        1_000_000,
    );
    // Wherever it stops, it stays: two looks with the whole system idle in between would be a sleep; its bound is what counts.
    const seen = () => cli.bridge.only.processes.get("main")?.outputs[0]?.bytes.length ?? 0;
    let before = -1;
    while (before !== seen()) {
      before = seen();
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    expect(before).toBeLessThan(8_000_000);
    child.stdout.resume();
    expect((await result).stdout.length).toBe(20_000_000);
  });

  it("prints the id with -d and leaves the zone running", async () => {
    const { stdout, code } = await cli.run(["run", "-d", "--name", "web", "busybox", "sleep", "1000"]);
    expect(code).toBe(0);
    expect(stdout.toString()).toMatch(/^[0-9a-f]{32}\n$/);
    expect(cli.bridge.zone("web").message.state).toBe(api.ZoneState.ZONE_STATE_RUNNING);
  });

  it("sends what was asked for", async () => {
    const options =
      "--name n --memory 512m --cpus 1.5 --hostname h --read-only --stop-signal INT --cold -l a=b --entrypoint sleep -w /tmp -u 1:2";
    await cli.run(["run", "-d", ...options.split(" "), "busybox", "1000"]);
    expect(cli.bridge.only.message.spec).toMatchObject({
      name: "n",
      cpuMillis: 1500,
      hostname: "h",
      readOnly: true,
      stopSignal: "INT",
      bootMode: api.BootMode.BOOT_MODE_COLD,
      labels: { a: "b" },
      cwd: "/tmp",
      user: "1:2",
    });
    expect(Number(cli.bridge.only.message.spec.memoryBytes)).toBe(512 * 1024 * 1024);
    expect(cli.bridge.only.message.argv?.map(String)).toEqual(["sleep", "1000"]);
  });

  it.each([
    [["run", "--rm", "missing"], 125, "zonectl: no image 'missing'; check its name, or `zonectl image ls`\n"],
    [
      ["run", "--nmae", "x", "busybox"],
      125,
      "zonectl: unknown option '--nmae' (Did you mean --name?); see `zonectl run --help`\n",
    ],
    [
      ["run", "-it", "busybox"],
      125,
      "zonectl: the input device is not a TTY; leave out -t to feed it from a pipe or file\n",
    ],
    [["run", "--memory", "lots", "busybox"], 125, /^zonectl: invalid memory size 'lots': .*\n$/],
    [["run", "--env-file", "/none", "busybox"], 125, /^zonectl: cannot read env file \/none: .*\n$/],
    [["run", "--stop-signal", "NONE", "busybox"], 125, /^zonectl: invalid signal 'NONE'.*\n$/],
  ])("%j: exit code %d and one line", async (args, code, line) => {
    const result = await cli.run(args);
    expect(result.stderr).toMatch(line);
    expect(result.code).toBe(code);
    expect(cli.bridge.zones.size).toBe(0);
  });

  it("says that a name is in use", async () => {
    await cli.run(["run", "-d", "--name", "web", "busybox", "sleep", "1000"]);
    const second = await cli.run(["run", "--name", "web", "busybox", "true"]);
    expect(second.code).toBe(125);
    expect(second.stderr).toBe(
      "zonectl: the name 'web' is in use; choose another --name, or `zonectl rm` the zone that has it\n",
    );
  });

  it.each(["create", "start"] as const)("Ctrl-C during %s leaves nothing behind", async (phase) => {
    cli.bridge.gates[phase] = never();
    const calls = cli.bridge.calls.length;
    const { child, result } = cli.start(["run", "busybox", "sleep", "1000"]);
    await eventually(() => cli.bridge.calls.slice(calls).includes(phase));
    child.kill("SIGINT");
    expect((await result).code).toBe(130);
    expect(cli.bridge.zones.size).toBe(0);
  });

  it("shows progress on stderr when it takes over a second", async () => {
    cli.bridge.gates.create = new Promise((resolve) => setTimeout(resolve, 1_500));
    const { stdout, stderr } = await cli.run(sh("echo hi"));
    expect(stdout.toString()).toBe("hi\n");
    expect(stderr).toBe("zonectl: pulling busybox (25%)\nzonectl: booting\n");
  });

  it("passes signals on", async () => {
    const { child, result } = cli.start(sh("trap 'echo got; exit 9' TERM; echo ready; while :; do sleep 0.01; done"));
    await new Promise((resolve) => child.stdout.once("data", resolve));
    child.kill("SIGTERM");
    expect(await result).toMatchObject({ code: 9, stdout: Buffer.from("ready\ngot\n") });
  });

  it("ends by itself at the third SIGINT that the process ignores", async () => {
    const { child, result } = cli.start(sh("trap '' INT; echo ready; sleep 1000"));
    await new Promise((resolve) => child.stdout.once("data", resolve));
    const main = cli.bridge.only.processes.get("main");
    for (let count = 1; count <= 2; count++) {
      child.kill("SIGINT");
      await eventually(() => main?.signals.length === count);
    }
    child.kill("SIGINT");
    const { code, stderr } = await result;
    expect(code).toBe(130);
    expect(stderr).toContain("got 3 SIGTERM/SIGINTs");
    expect(main?.state).toBe("running");
  });

  it("goes quietly when its output has no reader, and takes a --rm zone with it", async () => {
    const { stdout, stderr } = await cli.shell("zonectl run --rm busybox yes | head -n 1; echo $PIPESTATUS");
    expect(stdout.toString()).toBe("y\n141\n");
    expect(stderr).toBe("");
    expect(cli.bridge.zones.size).toBe(0);
  });

  it("leaves a zone without --rm running when its output has no reader", async () => {
    await cli.shell("zonectl run --name y busybox yes | head -n 1");
    expect(cli.bridge.zone("y").processes.get("main")?.state).toBe("running");
  });
});
