import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { api } from "../messages.js";
import { CliFixture, eventually } from "../testing/zonectl.js";
import { VERSION } from "../version.js";

let cli: CliFixture;
beforeAll(async () => {
  cli = await CliFixture.make();
}, 60_000);
afterAll(() => cli.close());

let id = "";
beforeEach(async () => {
  const { stdout } = await cli.run([
    "run",
    "-d",
    "--name",
    "web",
    "busybox",
    "sh",
    "-c",
    "echo out; echo err >&2; exec sleep 1000",
  ]);
  id = stdout.toString().trim();
});
afterEach(() => {
  for (const zone of cli.bridge.zones.values()) zone.end(api.EndCause.END_CAUSE_STOPPED, 137);
  cli.bridge.zones.clear();
});

const out = async (...args: string[]) => {
  const { code, stdout, stderr } = await cli.run(args);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return stdout.toString();
};
const main = () => cli.bridge.zone("web").processes.get("main");

describe("zones", { timeout: 60_000 }, () => {
  it("ls", async () => {
    const [header, row] = (await out("ls")).split("\n");
    expect(header?.split(/\s+/)).toEqual(["ID", "NAME", "IMAGE", "COMMAND", "STATE", "CREATED"]);
    expect(row).toContain(`${id.slice(0, 12)}  web   busybox  sh -c 'echo out; echo err >&2; …  running `);
    expect(await out("ls", "-q")).toBe(`${id.slice(0, 12)}\n`);
    const json = JSON.parse(await out("ls", "--format", "json"));
    expect(json).toMatchObject([
      { id, name: "web", image: "busybox", state: "running", exitCode: null, endCause: null },
    ]);
    cli.bridge.zone("web").end(api.EndCause.END_CAUSE_EXITED, 3);
    expect(await out("ls")).not.toContain("web");
    expect(await out("ls", "-a")).toContain("ended (3)");
  });

  it("ps", async () => {
    expect(await out("ps", "web")).toMatch(
      /^PID {2}UID {2}STATE {2}TIME {6}RSS {6}COMMAND\n1 {4}0 {4}S {6}01:02:03 {2}2.0 MiB {2}sh -c/,
    );
    expect(JSON.parse(await out("ps", "--format", "json", "web"))).toMatchObject([
      { pid: 1, uid: 0, cpuMs: 3_723_000, rssKib: 2048 },
    ]);
  });

  it("inspect, by name, by the beginning of an id, and images", async () => {
    const [zone] = JSON.parse(await out("inspect", "web"));
    expect(zone).toMatchObject({ id, config: { tty: false, autoRemove: false }, domain: {}, timings: {} });
    const [same, image] = JSON.parse(await out("inspect", id.slice(0, 6), "busybox"));
    expect([same.id, image.references]).toEqual([id, ["busybox"]]);
    const none = await cli.run(["inspect", "web", "none"]);
    expect(none.code).toBe(125);
    expect(none.stderr).toMatch(/^zonectl: no zone or image 'none'.*\n$/);
    expect(JSON.parse(none.stdout.toString())).toHaveLength(1);
  });

  it("logs", async () => {
    await eventually(() => (main()?.outputs[1]?.bytes.length ?? 0) > 0);
    expect(await cli.run(["logs", "web"])).toMatchObject({ code: 0, stdout: Buffer.from("out\n"), stderr: "err\n" });
    const stamped = await cli.run(["logs", "-t", "web"]);
    expect(stamped.stdout.toString()).toBe("2024-01-02T03:04:05.678Z out\n");
    expect(await out("logs", "--system", "web")).toBe("Linux version\n");
    expect((await cli.run(["logs", "--tail", "-3", "web"])).code).toBe(125);
    expect((await cli.run(["logs", "nowhere"])).code).toBe(125);
  });

  it("kill", async () => {
    expect(await out("kill", "-s", "USR1", "web")).toBe("web\n");
    expect(main()?.signals).toEqual([10]);
    expect((await cli.run(["kill", "-s", "NOPE", "web"])).stderr).toMatch(/^zonectl: invalid signal 'NOPE'.*\n$/);
  });

  it("stop and wait", async () => {
    const waiting = cli.run(["wait", "web"]);
    await eventually(() => cli.bridge.calls.includes("wait"));
    expect(await out("stop", "web")).toBe("web\n");
    expect((await waiting).stdout.toString()).toBe("143\n");
  });

  it("rm refuses what runs, ends it with -f, and goes on after a failure", async () => {
    const refused = await cli.run(["rm", "web"]);
    expect(refused).toMatchObject({
      code: 125,
      stderr: "zonectl: zone 'web' runs; stop it first, or use `zonectl rm -f`\n",
    });
    const both = await cli.run(["rm", "-f", "none", "web"]);
    expect(both).toMatchObject({
      code: 125,
      stdout: Buffer.from("web\n"),
      stderr: "zonectl: no zone 'none'; `zonectl ls -a` lists the zones\n",
    });
    expect(cli.bridge.zones.size).toBe(0);
  });

  it("events, for people and as JSON lines", async () => {
    for (const format of ["table", "json"]) {
      const calls = cli.bridge.calls.length;
      const { child, result } = cli.start(["events", "--format", format]);
      await eventually(() => cli.bridge.calls.slice(calls).includes("watch"));
      let text = "";
      child.stdout.on("data", (data) => {
        text += data;
      });
      await cli.run(["run", "-d", "--name", `e-${format}`, "busybox", "sleep", "1000"]);
      await eventually(() => text.includes("running"));
      child.kill("SIGINT");
      const lines = (await result).stdout.toString().trim().split("\n");
      if (format === "json")
        expect(lines.map((line) => JSON.parse(line).type)).toEqual(["created", "starting", "running"]);
      else expect(lines[0]).toMatch(/^\d{4}-.*Z created [0-9a-f]{32} \(image=busybox, name=e-table\)$/);
    }
  });
});

describe("host and images", { timeout: 60_000 }, () => {
  it("image ls, pull, rm", async () => {
    expect(await out("image", "ls")).toMatch(
      /^IMAGE {4}DIGEST {8}SIZE {5}PULLED\nbusybox {2}abababababab {2}4.0 MiB {2}\d+ years ago\n$/,
    );
    expect(JSON.parse(await out("image", "ls", "--format", "json"))[0].sizeBytes).toBe(4 * 1024 * 1024);
    expect(await out("image", "pull", "busybox")).toMatch(/^sha256:/);
    expect((await cli.run(["image", "pull", "missing"])).code).toBe(125);
    const inUse = await cli.run(["image", "rm", "busybox"]);
    expect(inUse).toMatchObject({
      code: 125,
      stderr: "zonectl: image 'busybox' is in use; remove the zones that use it first\n",
    });
  });

  it("doctor", async () => {
    const { RESULT_OK, RESULT_FAILED } = api.Check.Result;
    cli.bridge.checks = [{ name: "qemu", result: RESULT_OK, message: "7.2" }];
    expect(await out("doctor")).toMatch(
      /^RESULT {2}CHECK {3}FOUND\nok {6}bridge {2}answers at .*\nok {6}qemu {4}7.2\n$/,
    );
    cli.bridge.checks = [{ name: "kvm", result: RESULT_FAILED, message: "no", advice: "load kvm_amd" }];
    const failed = await cli.run(["doctor", "--format", "json"]);
    expect(failed.code).toBe(1);
    expect(JSON.parse(failed.stdout.toString())[1]).toEqual({
      name: "kvm",
      result: "failed",
      message: "no",
      advice: "load kvm_amd",
    });
    const none = await cli.run(["--bridge", "/none", "doctor"]);
    expect(none.code).toBe(1);
    expect(none.stdout.toString()).toMatch(
      /failed {2}bridge {2}cannot reach the bridge at \/none.*\n *-> start zone-bridge/,
    );
  });

  it("colours on a terminal alone, and not when told", async () => {
    cli.bridge.checks = [];
    const run = async (args: string[], env = {}) => {
      const terminal = cli.terminal(args, undefined, env);
      await terminal.exit;
      return terminal.text.includes("\x1b[32mok\x1b[0m");
    };
    expect(await run(["doctor"])).toBe(true);
    expect(await run(["--no-color", "doctor"])).toBe(false);
    expect(await run(["doctor", "--no-color"])).toBe(false);
    expect(await run(["doctor"], { NO_COLOR: "1" })).toBe(false);
    expect(await out("doctor")).not.toContain("\x1b");
  });

  it("version, with and without a bridge", async () => {
    expect(await out("version")).toContain("bridge      9.9.9");
    const without = await cli.run(["version", "--bridge", "/none"]);
    expect(without).toMatchObject({
      code: 0,
      stdout: Buffer.from(`zonectl     ${VERSION}\nbridge      not running\n`),
    });
    expect(JSON.parse(await out("version", "--format", "json"))).toMatchObject({
      zonectl: VERSION,
      bridge: { version: "9.9.9" },
    });
    expect(await out("--version")).toBe(`${VERSION}\n`);
  });

  it.each([
    [["frob"], "zonectl: unknown command 'frob'; see `zonectl --help`\n"],
    [["lss"], "zonectl: unknown command 'lss' (Did you mean ls?); see `zonectl --help`\n"],
    [["ls", "--frob"], "zonectl: unknown option '--frob'; see `zonectl ls --help`\n"],
    [["ls", "extra"], /^zonectl: .*too many arguments.*\n$/],
    [["ls", "--format", "xml"], /^zonectl: .*Allowed choices are table, json.*\n$/],
    [
      ["--bridge", "/none", "ls"],
      "zonectl: cannot reach the bridge at /none: it does not run; start zone-bridge, or check the path\n",
    ],
  ])("%j is one line and 125", async (args, line) => {
    const { code, stdout, stderr } = await cli.run(args);
    expect(stderr).toMatch(line);
    expect({ code, stdout: stdout.length }).toEqual({ code: 125, stdout: 0 });
  });

  it("helps, with an example, everywhere", async () => {
    const commands = [
      "run",
      "exec",
      "ls",
      "ps",
      "inspect",
      "logs",
      "kill",
      "stop",
      "rm",
      "wait",
      "events",
      "doctor",
      "version",
      "completion",
    ];
    for (const command of [
      [],
      ["image"],
      ["image", "ls"],
      ["image", "pull"],
      ["image", "rm"],
      ...commands.map((name) => [name]),
    ]) {
      const help = await out(...command, "--help");
      expect(help, command.join(" ")).toMatch(/Usage: zonectl[\s\S]*Example:\n {2}\S*.*zonectl/);
    }
    expect(await out()).toContain("Usage: zonectl");
    expect(await out("image")).toContain("Usage: zonectl image");
  });

  it("says more with --debug", async () => {
    const { stderr } = await cli.run(["--debug", "rm", "none"]);
    expect(stderr.split("\n").slice(1)).toEqual(["  code: NOT_FOUND", "  reason: zone.bridge/ZONE_UNKNOWN", ""]);
  });

  it("is quiet when nobody reads", async () => {
    const { stdout, stderr } = await cli.shell("zonectl --help | true; echo $PIPESTATUS");
    expect(stderr).toBe("");
    expect(["0\n", "141\n"]).toContain(stdout.toString());
  });
});

describe("completion", { timeout: 60_000 }, () => {
  it("asks for zones and images", async () => {
    expect(await out("__complete", "--", "exec", "")).toBe("web\n");
    expect(await out("__complete", "--", "run", "-it", "b")).toBe("busybox\n");
    expect(await out("__complete", "--", "run", "--env-file", "")).toBe(":files\n");
  });

  it("works in bash", async () => {
    const line = "source <(zonectl completion bash); COMP_WORDS=(zonectl lo); COMP_CWORD=1; _zonectl; echo $COMPREPLY";
    const names = "COMP_WORDS=(zonectl logs -f w); COMP_CWORD=3; _zonectl; echo $COMPREPLY";
    const { stdout, stderr } = await cli.shell(`${line}; ${names}`);
    expect(stderr).toBe("");
    expect(stdout.toString()).toBe("logs\nweb\n");
  });

  it.each(["bash", "zsh", "fish"])("has a script for %s", async (shell) => {
    expect(await out("completion", shell)).toContain("zonectl __complete");
  });
});
