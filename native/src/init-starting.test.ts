import { existsSync, mkdirSync, openSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { closeFd } from "./descriptors.js";
import { isRoot, TIMEOUT_MS } from "./testing/foreground.js";
import { InitUnderTest, specOf } from "./testing/init-under-test.js";

const SIGKILL = 9;
const MAX_RECORDS = 4096;
const CGROUP2 = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].find((path) =>
  existsSync(join(path, "cgroup.controllers")),
);

/** A child that is born into a frozen cgroup stands still between clone and exec. */
describe.skipIf(!isRoot || !CGROUP2)(
  "an exec that takes long (needs root and cgroup2)",
  { timeout: TIMEOUT_MS },
  () => {
    let init: InitUnderTest;
    const path = join(CGROUP2 ?? "", `zone-frozen-${process.pid}`);
    let cgroup: number;
    const freeze = (frozen: boolean) => writeFileSync(join(path, "cgroup.freeze"), frozen ? "1" : "0");
    beforeEach(async () => {
      init = await InitUnderTest.start();
      mkdirSync(path);
      freeze(true);
      cgroup = openSync(path, "r");
    }, TIMEOUT_MS);
    afterEach(async () => {
      freeze(false);
      await init.stop();
      closeFd(cgroup);
      rmdirSync(path);
    }, TIMEOUT_MS);

    it("holds up neither PID 1 nor other processes", async () => {
      const slow = init.startQuiet(specOf(["true"]), { cgroup });
      expect(await init.shell("echo meanwhile")).toBe("meanwhile");
      freeze(false);
      const { token } = await slow;
      expect((await init.exitOf(token)).code).toBe(0);
    });

    it("is not listed before, and is undone when the agent ends meanwhile", async () => {
      const slow = expect(init.startQuiet(specOf(["sleep", "1000"]), { cgroup })).rejects.toThrow("closed");
      await init.shell("true"); // the request before it has been served
      expect(await init.client.list()).toEqual([]);
      const pid = Number(readFileSync(join(path, "cgroup.procs"), "utf8"));
      expect(pid).toBeGreaterThan(1);
      await init.restartAgent();
      await slow;
      expect(await init.client.list()).toEqual([]);
      while (existsSync(`/proc/${pid}`)) await init.shell("true");
      expect(await init.client.list()).toEqual([]);
    });

    it("can be killed, and cannot be joined", async () => {
      const slow = init.startQuiet(specOf(["true"]), { cgroup });
      const token = 1n; // the first one
      await expect(init.startQuiet(specOf(["true"], { join: token }))).rejects.toMatchObject({
        stage: "join",
        code: "EBUSY",
      });
      init.client.kill(token, SIGKILL, { group: true });
      await slow;
      expect((await init.exitOf(token)).signal).toBe(SIGKILL);
    });
  },
);

describe.skipIf(!isRoot)("the table of processes (needs root)", { timeout: TIMEOUT_MS }, () => {
  it("is full with 4096, says so, lists them all, and takes more once some are released", async () => {
    const init = await InitUnderTest.start();
    const tokens: bigint[] = [];
    while (tokens.length < MAX_RECORDS) {
      const batch = await Promise.all(Array.from({ length: 128 }, () => init.startQuiet(specOf(["true"]))));
      await Promise.all(batch.map(({ token }) => init.exitOf(token)));
      tokens.push(...batch.map(({ token }) => token));
    }
    await expect(init.startQuiet(specOf(["true"]))).rejects.toMatchObject({ stage: "request", code: "ENOSPC" });
    await init.restartAgent();
    const records = await init.client.list();
    expect(records.map(({ token }) => token).sort((a, b) => Number(a - b))).toEqual(tokens);
    expect(records.every(({ exited }) => exited?.code === 0)).toBe(true);
    for (const token of tokens) init.client.release(token);
    expect(await init.client.list()).toEqual([]);
    expect(await init.shell("echo again")).toBe("again");
    await init.stop();
  });
});
