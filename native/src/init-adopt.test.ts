import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { closeFd, pipe } from "./descriptors.js";
import { SpawnError } from "./init-types.js";
import { streamFromFd } from "./stream.js";
import { isRoot, TIMEOUT_MS } from "./testing/foreground.js";
import { collect, InitUnderTest, specOf } from "./testing/init-under-test.js";

const SIGTERM = 15;

describe.skipIf(!isRoot)("adopting an orphan (needs root)", { timeout: TIMEOUT_MS }, () => {
  let init: InitUnderTest;
  beforeEach(async () => {
    init = await InitUnderTest.start();
  }, TIMEOUT_MS);
  afterEach(() => init.stop(), TIMEOUT_MS);

  /** What a runtime leaves behind when it has ended. */
  const orphan = async (command = "sleep 1000") =>
    Number(await init.shell(`setsid ${command} >/dev/null 2>&1 </dev/null & echo $!`));
  const adopt = async (pid: number, more: { meta?: string; kept?: number[] } = {}) => {
    const token = init.token();
    await init.client.adopt(token, pid, { meta: "", kept: [], ...more });
    return token;
  };
  const failure = (pid: number) =>
    adopt(pid).then(
      () => undefined,
      (error: unknown) => (error instanceof SpawnError ? { stage: error.stage, code: error.code } : error),
    );

  it("makes it like a process that was spawned: signals, exit, record, release", async () => {
    const pid = await orphan();
    const { read, write } = pipe();
    const token = await adopt(pid, { meta: '{"id":"web"}', kept: [write] });
    const [record] = await init.client.list();
    expect(record).toMatchObject({ token, pid, spec: { meta: '{"id":"web"}' } });
    const [kept] = record?.kept ?? [];
    if (kept === undefined) throw new Error("nothing was kept");
    closeFd(kept);
    closeFd(write);
    init.client.kill(token, SIGTERM);
    expect(await init.exitOf(token)).toMatchObject({ token, pid, signal: SIGTERM });
    init.client.release(token);
    // EOF: PID 1's duplicate went with the record.
    await collect(streamFromFd(read, { readable: true, writable: false }));
    expect(await init.client.list()).toEqual([]);
  });

  it("keeps it over the agent's end, and it can be joined", async () => {
    const pid = await orphan();
    const token = await adopt(pid, { meta: "kept" });
    await init.restartAgent();
    expect(await init.client.list()).toMatchObject([{ token, pid, spec: { meta: "kept" } }]);
    expect((await init.run(specOf(["true"], { join: token }))).exit.code).toBe(0);
    init.client.kill(token, SIGTERM);
    expect((await init.exitOf(token)).signal).toBe(SIGTERM);
  });

  it("tells how it ended", async () => {
    const pid = await orphan("sh -c 'sleep 0.2; exit 42'");
    expect(await init.exitOf(await adopt(pid))).toMatchObject({ pid, code: 42 });
  });

  it("wins or loses against its end, cleanly", async () => {
    for (let i = 0; i < 30; i++) {
      const pid = await orphan("true");
      const token = init.token();
      const outcome = await init.client.adopt(token, pid, { meta: "", kept: [] }).then(
        () => "adopted",
        (error: SpawnError) => error.code,
      );
      expect(["adopted", "ESRCH"]).toContain(outcome);
      if (outcome === "adopted") expect(await init.exitOf(token)).toMatchObject({ code: 0 });
    }
  });

  it("is refused for what is no child of PID 1: ESRCH", async () => {
    const missing = { stage: "adopt", code: "ESRCH" };
    for (const pid of [process.pid, 1, init.agentPid, init.init.pid, 1 << 22])
      expect(await failure(pid)).toEqual(missing);
    // A grandchild.
    const { token, pid } = await init.startQuiet(specOf(["sh", "-c", "sleep 1000 & wait"]));
    let child = "";
    while (!child) child = await init.shell(`cat /proc/${pid}/task/${pid}/children`);
    expect(await failure(Number(child.trim()))).toEqual(missing);
    init.client.kill(token, SIGTERM);
    await init.exitOf(token);
    expect(await failure(pid)).toEqual(missing);
  });

  it("is refused for a process that has a token, and for a token that has a process: EEXIST", async () => {
    const { token, pid } = await init.startQuiet(specOf(["sleep", "1000"]));
    expect(await failure(pid)).toEqual({ stage: "adopt", code: "EEXIST" });
    const other = await orphan();
    const again = init.client.adopt(token, other, { meta: "", kept: [] });
    await expect(again).rejects.toMatchObject({ stage: "request", code: "EEXIST" });
    await adopt(other);
    expect(await failure(other)).toEqual({ stage: "adopt", code: "EEXIST" });
  });

  it("is refused for what cannot be encoded, and leaks nothing", async () => {
    for (const pid of [0, -1, 1.5, Number.NaN]) await expect(adopt(pid)).rejects.toThrow(RangeError);
    await expect(adopt(2, { meta: "a\0b" })).rejects.toThrow("NUL");
    await expect(adopt(2, { kept: [0, 0, 0, 0] })).rejects.toThrow("at most 3");
    await expect(adopt(2, { kept: [99_999] })).rejects.toThrow("EBADF");
    await init.client.list();
    const before = init.init.openDescriptors();
    for (let i = 0; i < 20; i++) await failure(process.pid);
    expect(init.init.openDescriptors()).toBe(before);
  });
});
