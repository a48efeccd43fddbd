import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { closeFd, dup, pipe } from "./descriptors.js";
import { SpawnError } from "./init-types.js";
import { streamFromFd } from "./stream.js";
import { isRoot, TIMEOUT_MS } from "./testing/foreground.js";
import { collect, InitUnderTest, specOf } from "./testing/init-under-test.js";

const SIGKILL = 9;
const SIGTERM = 15;

describe.skipIf(!isRoot)("the life of processes (needs root)", { timeout: TIMEOUT_MS }, () => {
  let init: InitUnderTest;
  beforeEach(async () => {
    init = await InitUnderTest.start();
  }, TIMEOUT_MS);
  afterEach(async () => {
    await init.stop();
  }, TIMEOUT_MS);

  const zombies = () => {
    const rows = execFileSync("ps", ["-o", "stat=", "--ppid", String(init.init.pid)], { encoding: "utf8" });
    return rows.split("\n").filter((state) => state.startsWith("Z")).length;
  };
  /** Until `holds`: what is waited for is another process's doing, of which nobody tells us. */
  const eventually = async (holds: () => boolean) => {
    while (!holds()) await new Promise((resolve) => setTimeout(resolve, 5));
  };
  const sleeper = () => init.startQuiet(specOf(["sleep", "1000"]));

  it("reaps orphans", async () => {
    // The shell ends before its background children do, so that PID 1 inherits them.
    await init.shell("for i in 1 2 3 4 5 6 7 8 9 10; do (sleep 0.05 &) ; done");
    await eventually(
      () =>
        execFileSync("ps", ["-o", "comm=", "--ppid", String(init.init.pid)], { encoding: "utf8" }).trim() === "node",
    );
    expect(zombies()).toBe(0);
  });

  it("signals a process, and says ESRCH once it has been reaped", async () => {
    const { token } = await sleeper();
    init.client.kill(token, SIGTERM);
    expect(await init.exitOf(token)).toMatchObject({ code: 0, signal: SIGTERM });
    init.client.kill(token, SIGTERM);
    expect(await init.error()).toEqual({ token, request: "kill", errno: 3, code: "ESRCH" });
    init.client.kill(999n, SIGTERM);
    expect(await init.error()).toMatchObject({ token: 999n, code: "ESRCH" });
    init.client.kill(token, 1000);
    expect(await init.error()).toMatchObject({ code: "ESRCH" });
  });

  it("refuses a signal that is none", async () => {
    const { token } = await sleeper();
    init.client.kill(token, 65);
    expect(await init.error()).toMatchObject({ token, code: "EINVAL" });
    init.client.kill(token, -1);
    expect(await init.error()).toMatchObject({ token, code: "EINVAL" });
    init.client.kill(token, SIGKILL);
    expect((await init.exitOf(token)).signal).toBe(SIGKILL);
  });

  it("signals a whole group", async () => {
    const [stdin, stdout] = [pipe(), pipe()];
    const token = init.token();
    const output = collect(streamFromFd(stdout.read, { readable: true, writable: false }));
    const stdio: [number, number, number] = [stdin.read, stdout.write, dup(stdout.write)];
    await init.client.spawn(token, specOf(["sh", "-c", "trap '' HUP; sleep 1000 & sleep 1000"]), { stdio, kept: [] });
    init.client.kill(token, SIGTERM, { group: true });
    expect((await init.exitOf(token)).signal).toBe(SIGTERM);
    // EOF: the background child held stdout, and is gone too.
    await output;
    closeFd(stdin.write);
  });

  it("keeps an exit status until it is released, and refuses to release before", async () => {
    const { token } = await sleeper();
    init.client.release(token);
    expect(await init.error()).toMatchObject({ token, request: "release", code: "EBUSY" });
    init.client.kill(token, SIGKILL);
    await init.exitOf(token);
    expect((await init.client.list()).map((record) => [record.token, record.exited?.signal])).toEqual([
      [token, SIGKILL],
    ]);
    init.client.release(token);
    expect(await init.client.list()).toEqual([]);
    init.client.release(token);
    expect(await init.error()).toMatchObject({ token, request: "release", code: "ESRCH" });
  });

  it("uses a token once", async () => {
    const { token } = await sleeper();
    const [stdin, stdout] = [pipe(), pipe()];
    const stdio: [number, number, number] = [stdin.read, stdout.write, dup(stdout.write)];
    const second = await init.client
      .spawn(token, specOf(["true"]), { stdio, kept: [] })
      .catch((error: unknown) => error);
    expect(second).toBeInstanceOf(SpawnError);
    expect(second).toMatchObject({ stage: "request", code: "EEXIST" });
    closeFd(stdin.write);
    closeFd(stdout.read);
  });

  it("gives descriptors, specs and exits back to the agent after the one before was killed", async () => {
    expect(init.client.restarts).toBe(0);
    const [stdin, stdout] = [pipe(), pipe()];
    const cat = init.token();
    const spec = specOf(["cat", Buffer.from([0x2d])], { meta: '{"id":"cat"}' });
    const stdio: [number, number, number] = [stdin.read, stdout.write, dup(stdout.write)];
    const { pid } = await init.client.spawn(cat, spec, { stdio, kept: [stdin.write, stdout.read] });
    closeFd(stdin.write);
    closeFd(stdout.read);
    const exited = await init.startQuiet(specOf(["sh", "-c", "exit 5"]));
    await init.exitOf(exited.token);
    const running = await sleeper();

    await init.restartAgent();
    expect(init.client.restarts).toBe(1);
    const records = new Map((await init.client.list()).map((record) => [record.token, record]));
    expect(records.size).toBe(3);
    expect(records.get(exited.token)).toMatchObject({
      pid: exited.pid,
      exited: { code: 5, signal: 0 },
      kept: [undefined, undefined, undefined],
    });
    expect(records.get(running.token)?.exited).toBeUndefined();
    const record = records.get(cat);
    expect(record).toMatchObject({ pid, spec: { meta: '{"id":"cat"}', argv: [Buffer.from("cat"), Buffer.from("-")] } });
    const [input, output] = record?.kept ?? [];
    if (input === undefined || output === undefined) throw new Error("nothing was kept");
    const read = collect(streamFromFd(output, { readable: true, writable: false }));
    streamFromFd(input, { readable: false, writable: true }).end("still there");
    // Without this PID 1's duplicate would keep stdin open.
    init.client.dropKept(cat, 0);
    expect((await read).toString()).toBe("still there");
    expect(await init.exitOf(cat)).toMatchObject({ code: 0 });
    init.client.dropKept(cat, 0);
    expect(await init.error()).toMatchObject({ token: cat, request: "dropKept", code: "EBADF" });
    init.client.dropKept(cat, 3);
    expect(await init.error()).toMatchObject({ token: cat, code: "EINVAL" });

    // An exit after the list comes as an event.
    init.client.kill(running.token, SIGKILL);
    expect(await init.exitOf(running.token)).toMatchObject({ signal: SIGKILL });
  });

  it("reports what ended while there was no agent", async () => {
    const { token, pid } = await sleeper();
    const closed = new Promise((resolve) => {
      init.client.onClose = resolve;
    });
    process.kill(pid, "SIGKILL");
    process.kill(init.agentPid, "SIGKILL");
    await closed;
    await init.nextAgent();
    await eventually(() => !existsSync(`/proc/${pid}`));
    expect(await init.client.list()).toMatchObject([{ token, exited: { signal: SIGKILL } }]);
  });

  it("kills and replaces an agent that closes its socket", async () => {
    const first = init.agentPid;
    init.client.close();
    await init.nextAgent();
    expect(existsSync(`/proc/${first}`)).toBe(false);
    expect(init.client.restarts).toBe(1);
  });

  it("rejects what was pending when PID 1 is gone", async () => {
    const pending = init.client.list();
    init.client.close();
    await expect(pending).rejects.toThrow("closed");
    expect(() => init.client.kill(1n, 9)).toThrow("closed");
    const [stdin, stdout] = [pipe(), pipe()];
    const stdio: [number, number, number] = [stdin.read, stdout.write, dup(stdout.write)];
    await expect(init.client.spawn(1n, specOf(["true"]), { stdio, kept: [] })).rejects.toThrow("closed");
    expect(() => closeFd(stdio[0])).toThrow("EBADF");
    await init.nextAgent();
  });

  it("spawns a thousand processes, a hundred at a time, and leaks no descriptor", async () => {
    await init.run(specOf(["true"]));
    await init.client.list(); // its release has been served
    const before = { theirs: init.init.openDescriptors(), ours: openHere() };
    let codes = 0;
    for (let round = 0; round < 10; round++) {
      const batch = Array.from({ length: 100 }, (_, index) => init.run(specOf(["sh", "-c", `exit ${index}`])));
      (await Promise.all(batch)).forEach(({ exit }, index) => {
        codes += exit.code === index ? 1 : 0;
      });
    }
    expect(codes).toBe(1000);
    expect(await init.client.list()).toEqual([]);
    expect(zombies()).toBe(0);
    expect(init.init.openDescriptors()).toBe(before.theirs);
    await eventually(() => openHere() <= before.ours);
  });

  it("leaks nothing when exec fails", async () => {
    await init.run(specOf(["true"]));
    await init.client.list(); // its release has been served
    const before = init.init.openDescriptors();
    for (let i = 0; i < 100; i++) await expect(init.startQuiet(specOf(["no-such-program"]))).rejects.toThrow("ENOENT");
    await eventually(() => zombies() === 0);
    expect(init.init.openDescriptors()).toBe(before);
    expect(await init.client.list()).toEqual([]);
  });

  it("powers off: SIGTERM first, SIGKILL after the grace, and everything ends", async () => {
    const polite = await init.startQuiet(specOf(["sleep", "1000"]));
    const stubborn = await init.startQuiet(specOf(["sh", "-c", "trap '' TERM; while :; do sleep 1000; done"]));
    const daemon = await init.startQuiet(specOf(["sh", "-c", "setsid sleep 1000 & exit 0"]));
    await init.exitOf(daemon.token);
    await eventually(() => /trap|1000/.test(readFileSync(`/proc/${stubborn.pid}/cmdline`, "utf8")));
    init.client.powerOff(300);
    expect((await init.exitOf(polite.token)).signal).toBe(SIGTERM);
    const refused = init.startQuiet(specOf(["true"]));
    await expect(refused).rejects.toThrow();
    expect(await init.init.ended()).toBe(0);
    expect(existsSync(`/proc/${stubborn.pid}`)).toBe(false);
    expect(existsSync(`/proc/${init.agentPid}`)).toBe(false);
  });

  const openHere = () => Number(execFileSync("sh", ["-c", `ls /proc/${process.pid}/fd | wc -l`], { encoding: "utf8" }));
});
