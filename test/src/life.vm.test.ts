import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { TestBridge } from "./harness/bridge.js";

/** A zone that stays: detached, looked at, entered, ended. The tests go in order. */
describe("the life of a zone", () => {
  let bridge: TestBridge;
  let id = "";
  beforeAll(async () => {
    bridge = await TestBridge.start();
    const script = 'trap "echo bye; exit 3" TERM; echo started; echo warned >&2; while :; do sleep 0.1; done';
    id = await bridge.detached("web", ["sh", "-c", script], ["-e", "COLOUR=blue"]);
  });
  afterAll(() => bridge.close());

  const out = async (...args: string[]) => {
    const { code, stdout, stderr } = await bridge.zonectl(args);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    return stdout.toString();
  };

  test("run -d answers with the id", () => expect(id).toMatch(/^[0-9a-f]{32}$/));

  test("ls lists it, as a table, as JSON and as ids", async () => {
    const table = await out("ls");
    expect(table).toContain("web");
    expect(table).toContain(id.slice(0, 12));
    const [zone] = JSON.parse(await out("ls", "--format", "json"));
    expect(zone).toMatchObject({ id });
    expect((await out("ls", "-q")).trim()).toBe(id.slice(0, 12));
  });

  test("inspect tells everything", async () => {
    const [zone] = JSON.parse(await out("inspect", "web"));
    expect(JSON.stringify(zone)).toContain("busybox");
    expect(JSON.stringify(zone)).toContain(id);
  });

  test("exec enters the container, with its environment, and passes the exit code on", async () => {
    expect(await out("exec", "web", "--", "sh", "-c", "echo $COLOUR; hostname")).toBe("blue\nweb\n");
    const failing = await bridge.zonectl(["exec", "web", "sh", "-c", "exit 9"]);
    expect(failing.code).toBe(9);
    const missing = await bridge.zonectl(["exec", "web", "no-such-command"]);
    expect(missing.code).toBe(127);
    const piped = await bridge.zonectl(["exec", "-i", "web", "tr", "a-z", "A-Z"], { input: "shout\n" });
    expect(piped.stdout.toString()).toBe("SHOUT\n");
    expect(
      await out("exec", "-u", "nobody", "-w", "/etc", "-e", "X=1", "web", "sh", "-c", "id -un; pwd; echo $X"),
    ).toBe("nobody\n/etc\n1\n");
  });

  test("exec finds it by a prefix of its id", async () => {
    expect(await out("exec", id.slice(0, 8), "echo", "hi")).toBe("hi\n");
  });

  test("ps shows its processes", async () => expect(await out("ps", "web")).toContain("sleep 0.1"));

  test("logs has both streams, and follows to the end", async () => {
    const { stdout, stderr } = await bridge.zonectl(["logs", "web"]);
    expect({ stdout: stdout.toString(), stderr }).toEqual({ stdout: "started\n", stderr: "warned\n" });
    const following = bridge.zonectl(["logs", "-f", "web"]);
    const events = bridge.zonectl(["events", "--format", "json"], {
      onSpawn: (child) => child.stdout?.on("data", (data) => String(data).includes('"ended"') && child.kill("SIGTERM")),
    });
    // Stopped by its own signal handler, whose exit status and last words count.
    await out("stop", "web");
    expect((await following).stdout.toString()).toBe("started\nbye\n");
    await events;
  });

  test("an ended zone keeps its status and its logs, and runs nothing", async () => {
    expect(await out("ls")).not.toContain("web");
    expect(await out("ls", "-a")).toContain("web");
    expect((await out("wait", "web")).trim()).toBe("3");
    expect((await bridge.zonectl(["logs", "--tail", "1", "web"])).stdout.toString()).toBe("bye\n");
    const late = await bridge.zonectl(["exec", "web", "true"]);
    expect(late.code).toBe(125);
    expect(late.stderr).toMatch(/^zonectl: .*web.*\n$/);
  });

  test("rm removes it", async () => {
    await out("rm", "web");
    expect(await out("ls", "-a")).not.toContain("web");
  });

  test("kill sends a signal; rm -f ends what runs", async () => {
    await out("run", "-d", "--name", "victim", "busybox", "sleep", "1000");
    await out("kill", "victim");
    expect((await out("wait", "victim")).trim()).toBe("137");
    await out("run", "-d", "--name", "other", "busybox", "sleep", "1000");
    const refused = await bridge.zonectl(["rm", "other"]);
    expect(refused.code).toBe(125);
    await out("rm", "-f", "other", "victim");
    expect((await out("ls", "-a", "-q")).trim()).toBe("");
  });

  test("what was written to a volume is there when its zone is removed at once", async () => {
    const add = [
      "run",
      "--rm",
      "-v",
      "life-test:/data",
      "busybox",
      "sh",
      "-c",
      "echo line >> /data/log; cat /data/log",
    ];
    expect(await out(...add)).toBe("line\n");
    expect(await out(...add)).toBe("line\nline\n");
    await bridge.detached("writer", ["sh", "-c", "echo killed >> /data/log; sleep 1000"], ["-v", "life-test:/data"]);
    while ((await bridge.zonectl(["exec", "writer", "grep", "-q", "killed", "/data/log"])).code !== 0);
    await out("rm", "-f", "writer");
    expect(await out(...add)).toBe("line\nline\nkilled\nline\n");
    await out("volume", "rm", "life-test");
  });

  test("image ls, pull and rm", async () => {
    await out("image", "pull", "busybox");
    expect(await out("image", "ls")).toContain("busybox");
    const images = JSON.parse(await out("image", "ls", "--format", "json"));
    expect(images[0].digest).toMatch(/^sha256:[0-9a-f]{64}$/);
    await out("image", "rm", "busybox");
    expect(await out("image", "ls")).not.toContain("busybox");
  });

  test("doctor and version", async () => {
    const { stdout } = await bridge.zonectl(["doctor"]);
    expect(stdout.toString()).toMatch(/qemu/i);
    expect(await out("version")).toMatch(/\d+\.\d+\.\d+/);
  });
});
