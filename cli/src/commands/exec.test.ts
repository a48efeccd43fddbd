import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { api } from "../messages.js";
import { CliFixture, eventually } from "../testing/zonectl.js";
import { mergeDefaults } from "./exec.js";

let cli: CliFixture;
beforeAll(async () => {
  cli = await CliFixture.make();
}, 60_000);
afterAll(() => cli.close());
beforeEach(async () => {
  await cli.run([
    "run",
    "-d",
    "--name",
    "web",
    "-e",
    "FROM_RUN=1",
    "-e",
    "BOTH=run",
    "-w",
    "/tmp",
    "-u",
    "7",
    "busybox",
    "sleep",
    "1000",
  ]);
});
afterEach(() => {
  for (const zone of cli.bridge.zones.values()) zone.end(api.EndCause.END_CAUSE_STOPPED, 137);
  cli.bridge.zones.clear();
});

describe("exec", { timeout: 60_000 }, () => {
  it("runs another process, with the zone's environment, user and folder", async () => {
    const exec = cli.start([
      "exec",
      "-e",
      "BOTH=exec",
      "web",
      "sh",
      "-c",
      'echo "$FROM_IMAGE $FROM_RUN $BOTH"; exec sleep 1000',
    ]);
    await new Promise((resolve) => exec.child.stdout.once("data", resolve));
    const spec = [...cli.bridge.zone("web").processes.values()].at(-1)?.spec;
    expect(spec).toMatchObject({ containerId: "main", user: "7", cwd: "/tmp" });
    exec.child.kill("SIGTERM");
    expect(await exec.result).toMatchObject({ code: 143, stdout: Buffer.from("1 1 exec\n") });
  });

  it("lets -u and -w override them", async () => {
    const exec = cli.start(["exec", "-u", "0:0", "-w", "/", "web", "sh", "-c", "echo ready; exec sleep 1000"]);
    await new Promise((resolve) => exec.child.stdout.once("data", resolve));
    expect([...cli.bridge.zone("web").processes.values()].at(-1)?.spec).toMatchObject({ user: "0:0", cwd: "/" });
    exec.child.kill("SIGTERM");
    await exec.result;
  });

  it("feeds stdin with -i and passes the exit code on", async () => {
    const result = await cli.run(["exec", "-i", "web", "--", "sh", "-c", "tr a-z A-Z; exit 9"], { input: "shout\n" });
    expect(result).toMatchObject({ code: 9, stdout: Buffer.from("SHOUT\n"), stderr: "" });
  });

  it("forgets the process when it has its exit, or could not start", async () => {
    await cli.run(["exec", "web", "true"]);
    await cli.run(["exec", "web", "no-such-program"]);
    expect([...cli.bridge.zone("web").processes.keys()]).toEqual(["main"]);
  });

  it("leaves a process running with -d", async () => {
    expect(await cli.run(["exec", "-d", "web", "sleep", "1000"])).toMatchObject({ code: 0, stdout: Buffer.alloc(0) });
    expect([...cli.bridge.zone("web").processes.values()].at(-1)?.state).toBe("running");
  });

  it.each([
    [["exec", "web", "no-such-program"], 127, "zonectl: cannot run no-such-program: not found\n"],
    [["exec", "-d", "web", "no-such-program"], 127, "zonectl: cannot run no-such-program: not found\n"],
    [["exec", "nowhere", "true"], 125, "zonectl: no zone 'nowhere'; `zonectl ls -a` lists the zones\n"],
    [["exec", "../x", "true"], 125, /^zonectl: invalid zone '\.\.\/x'.*\n$/],
    [["exec", "web"], 125, /^zonectl: missing required argument 'command'.*\n$/],
    [["exec", "-it", "web", "sh"], 125, /^zonectl: the input device is not a TTY.*\n$/],
  ])("%j: exit code %d and one line", async (args, code, line) => {
    const result = await cli.run(args);
    expect(result.stderr).toMatch(line);
    expect(result.code).toBe(code);
  });

  it("says that a zone does not run", async () => {
    cli.bridge.zone("web").end(api.EndCause.END_CAUSE_STOPPED, 0);
    const { code, stderr } = await cli.run(["exec", "web", "true"]);
    expect(code).toBe(125);
    expect(stderr).toBe("zonectl: zone 'web' does not run; `zonectl ls -a` shows its state\n");
  });

  it("starts a process once although the link is lost before the answer", async () => {
    const attached = cli.bridge.calls.length;
    cli.bridge.dropBeforeOpened = true;
    const { code, stdout } = await cli.run(["exec", "-i", "web", "sh", "-c", "echo $$; cat"], { input: "x\n" });
    expect(code).toBe(0);
    expect(stdout.toString()).toMatch(/^\d+\nx\n$/);
    expect(cli.bridge.calls.slice(attached).filter((call) => call === "attach").length).toBeGreaterThan(1);
  });

  it("sends SIGPIPE when its output has no reader", async () => {
    const { stdout } = await cli.shell("zonectl exec web yes | head -n 1; echo $PIPESTATUS");
    expect(stdout.toString()).toBe("y\n141\n");
    await eventually(() => [...cli.bridge.zone("web").processes.values()].at(-1)?.exit?.signal === 13);
  });

  it("reports the end of the zone's kernel", async () => {
    const exec = cli.start(["exec", "web", "sh", "-c", "echo ready; exec sleep 1000"]);
    await new Promise((resolve) => exec.child.stdout.once("data", resolve));
    const zone = cli.bridge.zone("web");
    for (const one of zone.processes.values()) one.listeners.clear();
    zone.end(api.EndCause.END_CAUSE_PANIC, 125, "sysrq triggered crash");
    cli.bridge.drop();
    await cli.bridge.listen();
    const { code, stderr } = await exec.result;
    expect(stderr).toBe("zonectl: zone web ended: sysrq triggered crash; see `zonectl logs --system web`\n");
    expect(code).toBe(125);
  });
});

describe("mergeDefaults", () => {
  it("puts the zone's settings over the image's", () => {
    const image = { env: ["A=image", "B=image"], user: "app", workingDir: "/srv" };
    const spec = { env: [Buffer.from("B=zone")], cwd: "/zone" };
    const { env, user, cwd } = mergeDefaults(spec, image);
    expect(env.map(String)).toEqual(["A=image", "B=zone"]);
    expect({ user, cwd }).toEqual({ user: "app", cwd: "/zone" });
    expect(mergeDefaults({}, undefined)).toEqual({ env: [], user: "", cwd: "" });
  });
});
