import { release } from "node:os";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { TestBridge } from "./harness/bridge.js";

/** Docker's habits, through the real zonectl and booted zones. */
describe("zonectl run", () => {
  let bridge: TestBridge;
  beforeAll(async () => {
    bridge = await TestBridge.start();
    // Makes the template, so that no progress is shown later.
    await bridge.zonectl(["run", "--rm", "busybox", "true"]);
  });
  afterAll(() => bridge.close());

  const run = (...args: string[]) => bridge.zonectl(["run", "--rm", "busybox", ...args]);

  test("runs on a kernel of its own", async () => {
    const { code, stdout } = await run("uname", "-r");
    expect(code).toBe(0);
    expect(stdout.toString().trim()).not.toBe(release());
  });

  test.each([
    ["the exit code", ["sh", "-c", "exit 42"], 42],
    ["a missing command", ["no-such-command"], 127],
    ["a file that is not executable", ["/etc/passwd"], 126],
    ["a folder as the command", ["/etc"], 126],
  ])("passes on %s", async (_, args, expected) => {
    const { code, stderr } = await run(...args);
    expect({ code, lines: stderr.split("\n").filter(Boolean).length }).toEqual({
      code: expected,
      lines: expected === 126 || expected === 127 ? 1 : 0,
    });
  });

  test("keeps stdout and stderr apart", async () => {
    const { stdout, stderr } = await run("sh", "-c", "echo out; echo err >&2");
    expect({ stdout: stdout.toString(), stderr }).toEqual({ stdout: "out\n", stderr: "err\n" });
  });

  test("honours env, workdir, user, hostname and entrypoint", async () => {
    const { stdout, code } = await bridge.zonectl([
      ...["run", "--rm", "-e", "A=1", "-e", "B=two\nlines", "-w", "/tmp/new", "-u", "65534:65534", "--hostname", "box"],
      ...["--entrypoint", "sh", "busybox", "-c", 'echo "$A,$B"; pwd; id -u; id -g; hostname'],
    ]);
    expect(code).toBe(0);
    expect(stdout.toString()).toBe("1,two\nlines\n/tmp/new\n65534\n65534\nbox\n");
  });

  test("passes bytes, empty arguments and long arguments unchanged", async () => {
    const long = "x".repeat(100 * 1024);
    const { stdout } = await run(
      "sh",
      "-c",
      'printf "%s|%s|" "$1" "$2"; printf %s "$3" | wc -c',
      "sh",
      "",
      "a\nb",
      long,
    );
    expect(stdout.toString()).toBe(`|a\nb|${long.length}\n`);
  });

  test("is process 1 in the container, with nothing of the zone in sight", async () => {
    const { stdout } = await run("sh", "-c", "echo $$; ls /proc | grep -c '^[0-9]'; mount | grep -c zone-root");
    const [pid, processes, leaks] = stdout.toString().trim().split("\n").map(Number);
    expect(pid).toBe(1);
    expect(processes).toBeLessThanOrEqual(4);
    expect(leaks).toBe(0);
  });

  test("the root is writable, and read-only when asked", async () => {
    const writable = await run("sh", "-c", "echo x > /file && cat /file");
    expect(writable.stdout.toString()).toBe("x\n");
    const readOnly = await bridge.zonectl(["run", "--rm", "--read-only", "busybox", "sh", "-c", "echo x > /file"]);
    expect(readOnly.code).not.toBe(0);
    expect(readOnly.stderr).toContain("Read-only file system");
  });

  test("feeds stdin and ends it", async () => {
    const input = Buffer.from(Array.from({ length: 300_000 }, (_, index) => index % 256));
    const { code, stdout } = await bridge.zonectl(["run", "--rm", "-i", "busybox", "cat"], { input });
    expect(code).toBe(0);
    expect(stdout.equals(input)).toBe(true);
  });

  test("without -i stdin is empty", async () => {
    const { stdout } = await bridge.zonectl(["run", "--rm", "busybox", "wc", "-c"], { input: "not for you" });
    expect(stdout.toString().trim()).toBe("0");
  });

  test("a cold zone is the same", async () => {
    const { code, stdout } = await bridge.zonectl(["run", "--rm", "--cold", "busybox", "echo", "hello"]);
    expect({ code, out: stdout.toString() }).toEqual({ code: 0, out: "hello\n" });
  });

  test("leaves nothing behind with --rm", async () => {
    const { zones } = await bridge.zones.list({ all: true });
    expect(zones).toEqual([]);
  });
});
