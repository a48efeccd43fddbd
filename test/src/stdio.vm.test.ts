import { createHash } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { inZone, TestBridge } from "./harness/bridge.js";
import { argv, exec } from "./harness/exec.js";
import { onTerminal } from "./harness/terminal.js";

/** The prompt of busybox, which asks the terminal where its cursor is. */
const prompt = /# .{0,4}$/s;

/** The stdio contract, in a booted zone. */
describe("stdio", () => {
  let bridge: TestBridge;
  beforeAll(async () => {
    bridge = await TestBridge.start();
    await bridge.detached("io", ["sleep", "100000"], ["--memory", "512m"]);
  });
  afterAll(() => bridge.close());

  const run = (spec: Parameters<typeof exec>[2], input?: Buffer) =>
    exec(bridge, "io", { containerId: "main", ...spec }, input);
  const sh = (script: string, input?: Buffer) => run({ argv: argv("sh", "-c", script) }, input);

  test("a burst of 8 MiB before exit arrives whole, a hundred times", async () => {
    const size = 8 << 20;
    const block = Buffer.from(Array.from({ length: 65536 }, (_, index) => (index * 7) % 251));
    await sh("cat > /tmp/block", block);
    await sh("for i in $(seq 128); do cat /tmp/block; done > /tmp/burst");
    const expected = createHash("sha256");
    for (let index = 0; index < size / block.length; index++) expected.update(block);
    const digest = expected.digest("hex");
    for (let round = 0; round < 100; round++) {
      const { stdout, code } = await sh("cat /tmp/burst; exit 7");
      expect({ code, length: stdout.length, digest: createHash("sha256").update(stdout).digest("hex") }).toEqual({
        ...{ code: 7, length: size, digest },
      });
    }
  }, 900_000);

  test("both streams at once keep their own order", async () => {
    const { stdout, stderr } = await sh("for i in $(seq 2000); do echo out$i; echo err$i >&2; done");
    const lines = (prefix: string) => Array.from({ length: 2000 }, (_, index) => `${prefix}${index + 1}\n`).join("");
    expect(stdout.toString()).toBe(lines("out"));
    expect(stderr.toString()).toBe(lines("err"));
  });

  test("a process killed by a signal says so", async () => {
    expect(await sh("kill -15 $$")).toMatchObject({ code: 0, signal: 15 });
  });

  test("a grandchild that holds stdout open does not hang the exec", async () => {
    const { code, stdout, heldOpen } = await run({
      ...{ argv: argv("sh", "-c", "sleep 100000 & echo done; exit 5"), drainGraceMs: 200 },
    });
    expect({ code, stdout: stdout.toString(), heldOpen }).toEqual({ code: 5, stdout: "done\n", heldOpen: true });
  });

  test("stdin of 3 MiB passes through unchanged, and its end arrives", async () => {
    const input = Buffer.alloc(3 << 20, "0123456789abcdef");
    const { stdout, code } = await sh("cat", input);
    expect(code).toBe(0);
    expect(stdout.equals(input)).toBe(true);
  });

  test("any bytes in argv and env", async () => {
    const odd = Buffer.from([0xff, 0xfe, 0x0a, 0x80, 0x20]);
    const { stdout } = await run({
      argv: [...argv("sh", "-c", 'printf "%s|%s|%s" "$1" "$2" "$ODD"', "sh"), odd, Buffer.alloc(0)],
      env: [Buffer.concat([Buffer.from("ODD="), odd])],
    });
    expect(stdout).toEqual(Buffer.concat([odd, Buffer.from("||"), odd]));
  });

  test("a tty has its size before the first byte, and a name in its container", async () => {
    const { stdout } = await run({
      argv: argv("sh", "-c", "stty size; tty; echo name > $(tty)"),
      tty: { rows: 31, columns: 97 },
      stdin: true,
    });
    expect(stdout.toString()).toMatch(/^31 97\r\n\/dev\/pts\/\d+\r\nname\r\n$/);
  });

  test("the end of stdin reaches a process through its tty", async () => {
    const { code, stdout } = await run(
      { argv: argv("sh", "-c", "cat; echo over"), tty: { rows: 24, columns: 80 }, stdin: true },
      Buffer.from("line\n"),
    );
    expect({ code, stdout: stdout.toString() }).toEqual({ code: 0, stdout: "line\r\nline\r\nover\r\n" });
  });

  test("a slow reader stops the writer, and memory stays flat", async () => {
    const before = await bridge.system.info({}, inZone("io"));
    const call = bridge.process_.attach(inZone("io"));
    call.write({ open: { spec: { containerId: "main", argv: argv("sh", "-c", "cat /dev/zero") } } });
    call.pause();
    const id = await new Promise<string>((resolve) => {
      call.once("data", (message) => resolve(message.opened?.process?.id ?? ""));
      call.resume();
    });
    call.pause();
    // Whoever writes without bound would have written far more than any buffer by the time that it has stopped growing.
    let written = -1;
    for (;;) {
      const { process } = await bridge.process_.get({ id }, inZone("io"));
      if (process?.stdoutBytes === written) break;
      written = process?.stdoutBytes ?? 0;
      await bridge.zonectl(["exec", "io", "sleep", "1"]);
    }
    const after = await bridge.system.info({}, inZone("io"));
    expect(written).toBeLessThan(32 << 20);
    expect((after.agentRssBytes ?? 0) - (before.agentRssBytes ?? 0)).toBeLessThan(64 << 20);
    call.on("error", () => undefined);
    call.cancel();
    await bridge.process_.signal({ id, signal: 9 }, inZone("io"));
  });

  test("attach again at an offset gives exactly the rest", async () => {
    const first = bridge.process_.attach(inZone("io"));
    first.on("error", () => undefined);
    first.write({
      open: {
        spec: { containerId: "main", argv: argv("sh", "-c", "seq 1 2000; read x; seq 2001 4000"), stdin: true },
        stdin: true,
      },
    });
    let id = "";
    let seen = Buffer.alloc(0);
    await new Promise<void>((resolve) => {
      first.on("data", (message) => {
        if (message.opened) id = message.opened.process?.id ?? "";
        if (message.output) seen = Buffer.concat([seen, message.output.data ?? []]);
        if (seen.length > 1000) resolve();
      });
    });
    first.cancel();
    // Stdin has one holder, and the agent hears of the cancellation in its own time.
    while ((await bridge.process_.get({ id }, inZone("io"))).process?.attached !== 0);
    const cut = 777;
    const second = bridge.process_.attach(inZone("io"));
    const rest: Buffer[] = [];
    const ended = new Promise((resolve) => second.on("end", resolve));
    second.on("data", (message) => message.output && rest.push(Buffer.from(message.output.data ?? [])));
    second.write({ open: { processId: id, stdin: true, stdoutFrom: cut } });
    second.write({ stdin: { offset: 0, data: Buffer.from("\n") } });
    await ended;
    const whole = Array.from({ length: 4000 }, (_, index) => `${index + 1}\n`).join("");
    expect(Buffer.concat([seen.subarray(0, cut), ...rest]).toString()).toBe(whole);
  });

  describe("zonectl on a terminal", () => {
    test("exec -it has a tty with a name", async () => {
      const { code, output } = await onTerminal(bridge, ["exec", "-it", "io", "tty"], []);
      expect({ code, output }).toEqual({ code: 0, output: expect.stringMatching(/^\/dev\/pts\/\d+\r\n$/) });
    });

    test("run -it: prompt, size, Ctrl-C, resize, exit code", async () => {
      const { code, output } = await onTerminal(
        bridge,
        ["run", "-it", "--rm", "busybox", "sh"],
        [
          [prompt, (terminal) => terminal.write("stty size\n")],
          [/33 101/, (terminal) => terminal.write("echo going; sleep 1000\n")],
          // Before the command runs, the shell reads Ctrl-C as a key.
          [/\ngoing\r\n/, (terminal) => terminal.write("\x03")],
          [
            prompt,
            (terminal) => {
              terminal.resize(80, 25);
              // The resize and what is typed take different ways into zonectl.
              terminal.write("until stty size | grep '25 80'; do sleep 0.1; done\n");
            },
          ],
          [/\n25 80\r\n/, (terminal) => terminal.write("exit 4\n")],
        ],
      );
      expect({ code, output }).toMatchObject({ code: 4 });
    });

    test("exec -it: detach keys leave the process running", async () => {
      const { code } = await onTerminal(
        bridge,
        ["exec", "-it", "io", "sh", "-c", "echo ready; sleep 54321"],
        [[/ready/, (terminal) => terminal.write("\x10\x11")]],
      );
      expect(code).toBe(0);
      const { stdout } = await bridge.zonectl(["ps", "io"]);
      expect(stdout.toString()).toContain("sleep 54321");
    });

    test("-t without a terminal is refused", async () => {
      const { code, stderr } = await bridge.zonectl(["exec", "-it", "io", "sh"], { input: "exit\n" });
      expect({ code, lines: stderr.trim().split("\n").length }).toEqual({ code: 125, lines: 1 });
    });
  });
});
