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

const main = () => cli.bridge.only.processes.get("main");
const RUN = ["run", "--rm", "-it", "busybox", "sh", "-c"];

describe("on a terminal", { timeout: 60_000 }, () => {
  it("has the window's size before the first byte, and follows it", async () => {
    const terminal = cli.terminal([
      ...RUN,
      "stty size; trap 'stty size; exit 4' WINCH; echo ready; while :; do sleep 0.01; done",
    ]);
    await terminal.until("ready");
    expect(terminal.text).toContain("30 100\r\n");
    terminal.pty.resize(120, 40);
    expect((await terminal.exit).code).toBe(4);
    expect(terminal.text).toContain("40 120\r\n");
  });

  it("passes keys raw: Ctrl-C is the process's, and echo is its terminal's", async () => {
    const terminal = cli.terminal([...RUN, "trap 'echo INT; exit 5' INT; echo ready; while :; do sleep 0.01; done"]);
    await terminal.until("ready");
    terminal.write("\x03");
    expect((await terminal.exit).code).toBe(5);
    expect(terminal.text).toContain("INT\r\n");
  });

  it("leaves output as the process made it", async () => {
    const terminal = cli.terminal([...RUN, "stty raw; printf 'a\\nb'"]);
    await terminal.exit;
    expect(terminal.text).toContain("a\nb");
    expect(terminal.text).not.toContain("a\r\n");
  });

  it("passes an end of file typed as Ctrl-D", async () => {
    const terminal = cli.terminal([...RUN, "echo ready; cat; echo over"]);
    await terminal.until("ready");
    terminal.write("\x04");
    expect((await terminal.exit).code).toBe(0);
    expect(terminal.text).toContain("over");
  });

  it.each([
    ["in one piece", ["\x10\x11"]],
    ["key by key", ["\x10", "\x11"]],
    ["after other keys", ["abc\x10", "\x11def"]],
  ])("detaches at ctrl-p ctrl-q %s, silently, and the zone runs on", async (_, pieces) => {
    const terminal = cli.terminal(["run", "-it", "busybox", "sh", "-c", "stty -echo; echo ready; cat"]);
    await terminal.until("ready");
    for (const piece of pieces) terminal.write(piece);
    expect((await terminal.exit).code).toBe(0);
    expect(terminal.text.trim()).toBe("ready");
    expect(main()?.state).toBe("running");
  });

  it("detaches at --detach-keys, and then only at those", async () => {
    const terminal = cli.terminal([
      "run",
      "-it",
      "--detach-keys",
      "ctrl-a,d",
      "busybox",
      "sh",
      "-c",
      "stty -echo raw; echo ready; cat -v",
    ]);
    await terminal.until("ready");
    terminal.write("\x10\x11\x01x");
    await terminal.until("^P^Q^Ax");
    terminal.write("\x01d");
    expect((await terminal.exit).code).toBe(0);
  });

  it.each([
    ["a normal end", "exit 0", 0],
    ["a failure", "no-such-command", 127],
    ["a death by signal", "kill -9 $$", 137],
  ])("puts the terminal back after %s", async (_, script, code) => {
    const terminal = cli.terminalShell(
      `before=$(stty -g); zonectl run --rm -it busybox sh -c '${script}'; echo "code $?"; [ "$before" = "$(stty -g)" ] && echo restored`,
    );
    await terminal.until(/restored\r\n$/);
    expect(terminal.text).toContain(`code ${code}\r\n`);
  });

  it.each(["HUP", "TERM"])("puts the terminal back when SIG%s ends the process", async (name) => {
    const terminal = cli.terminalShell(
      'before=$(stty -g); zonectl run --rm -it busybox sh -c "echo ready; exec sleep 1000"; echo "code $?"; [ "$before" = "$(stty -g)" ] && echo restored',
    );
    await terminal.until("ready");
    main()?.signal(name === "HUP" ? 1 : 15);
    await terminal.until(/restored\r\n$/);
    expect(terminal.text).toContain(`code ${name === "HUP" ? 129 : 143}\r\n`);
  });

  it("puts the terminal back when it gives up on a lost link", async () => {
    const terminal = cli.terminalShell(
      'before=$(stty -g); zonectl run --name lost -it busybox sh -c "echo ready; exec sleep 1000"; echo "code $?"; [ "$before" = "$(stty -g)" ] && echo restored',
    );
    await terminal.until("ready");
    cli.bridge.zone("lost").processes.delete("main");
    cli.bridge.drop();
    await cli.bridge.listen();
    cli.bridge.zones.clear();
    await terminal.until(/restored\r\n$/);
    expect(terminal.text).toContain("code 125");
    expect(terminal.text).toMatch(/zonectl: [^\r]*\r?\n/);
  });

  it("shows progress on one line and takes it away", async () => {
    let open = () => {};
    cli.bridge.gates.create = new Promise((resolve) => {
      open = resolve;
    });
    const terminal = cli.terminal([...RUN, "echo ready"]);
    await terminal.until("pulling busybox (25%)");
    open();
    delete cli.bridge.gates.create;
    expect((await terminal.exit).code).toBe(0);
    const [line = "", erased = ""] = terminal.text.replaceAll("\x1b[K", "<erase>").split("<erase>ready\r\n");
    expect(line).toMatch(/^\r<erase>pulling busybox \(25%\)(\r<erase>booting)?\r$/);
    expect(erased).toBe("");
  });

  it("works with -t alone", async () => {
    const terminal = cli.terminal(["run", "--rm", "-t", "busybox", "sh", "-c", "test -t 1 && echo tty"]);
    expect((await terminal.exit).code).toBe(0);
    expect(terminal.text).toContain("tty");
    const piped = await cli.run(["run", "--rm", "-t", "busybox", "stty", "size"]);
    expect(piped).toMatchObject({ code: 0, stdout: Buffer.from("24 80\r\n") });
  });

  it("sends the size again after a lost link", async () => {
    const terminal = cli.terminal(["run", "--rm", "-it", "busybox", "sh", "-c", "echo ready; read x; stty size"]);
    await terminal.until("ready");
    const process = main();
    cli.bridge.drop();
    terminal.pty.resize(77, 22);
    await cli.bridge.listen();
    await eventually(() => process?.sizes.includes("22x77") ?? false);
    terminal.write("\r");
    expect((await terminal.exit).code).toBe(0);
    expect(terminal.text).toContain("22 77");
  });

  it("comes back with attach, which can detach again", async () => {
    const attached = async () => {
      const calls = cli.bridge.calls.length;
      const terminal = cli.terminal(["attach", "back"]);
      await eventually(() => cli.bridge.calls.slice(calls).includes("attach"));
      return terminal;
    };
    const first = cli.terminal([
      "run",
      "--name",
      "back",
      "-it",
      "busybox",
      "sh",
      "-c",
      "stty -echo; echo ready; while read x; do echo got $x; done; exit 3",
    ]);
    await first.until("ready");
    first.write("\x10\x11");
    expect((await first.exit).code).toBe(0);
    const second = await attached();
    second.write("one\r");
    await second.until("got one");
    second.write("\x10\x11");
    expect((await second.exit).code).toBe(0);
    const third = await attached();
    third.write("\x04");
    expect((await third.exit).code).toBe(3);
    expect(third.text).not.toContain("got one");
    expect(await cli.run(["attach", "back"])).toMatchObject({ code: 125 });
  });
});
