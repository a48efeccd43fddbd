import { mkdirSync, rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { MS, mount } from "./system.js";
import { hasBusybox } from "./testing/container-root.js";
import { ContainerUnderTest } from "./testing/container-under-test.js";
import { isRoot, TIMEOUT_MS } from "./testing/foreground.js";
import { specOf } from "./testing/init-under-test.js";

describe.skipIf(!isRoot || !hasBusybox)("a tty's name (needs root and busybox-static)", { timeout: TIMEOUT_MS }, () => {
  let box: ContainerUnderTest;
  beforeEach(async () => {
    box = await ContainerUnderTest.start();
  }, TIMEOUT_MS);
  afterEach(() => box.stop(), TIMEOUT_MS);

  const tty = ["sh", "-c", "tty; tty <&2; echo works > /dev/console"];
  /** The root's /dev/pts is the one that the tty is of. */
  const sharePts = () => {
    mkdirSync(join(box.root.path, "dev/pts"));
    mount("/dev/pts", join(box.root.path, "dev/pts"), "", MS.BIND, "");
  };

  it("is /dev/console in a container that has no such devpts", async () => {
    for (const more of [{}, { reaper: true }, { readonlyRoot: true }]) {
      expect((await box.onTty(box.spec(tty, more))).output).toBe("/dev/console\n/dev/console\nworks\n");
    }
  });

  it("is that of the container's devpts when it is there, and /dev/console is the same", async () => {
    sharePts();
    expect((await box.onTty(box.spec(tty))).output).toMatch(/^(\/dev\/pts\/\d+)\n\1\nworks\n$/);
  });

  it("of an exec is that of the container's devpts; without it has none, and works", async () => {
    const bare = await box.startSleeper();
    const exec = (token: bigint) => specOf(["sh", "-c", "tty; echo works"], { join: token, env: ["PATH=/bin"] });
    expect((await box.onTty(exec(bare.token))).output).toBe("not a tty\nworks\n");
    sharePts();
    const { token } = await box.startSleeper();
    expect((await box.onTty(exec(token))).output).toMatch(/^\/dev\/pts\/\d+\nworks\n$/);
  });

  it("is left alone without a tty, without a /dev, and where an image has put something else", async () => {
    expect(await box.sh("ls /dev")).toBe("null");
    expect((await box.onTty(specOf(["tty"]))).output).toMatch(/^\/dev\/pts\/\d+\n$/);
    symlinkSync("/etc/marker", join(box.root.path, "dev/console"));
    expect(await box.failure({ ...box.spec(["true"]) })).toBeUndefined();
    await expect(box.onTty(box.spec(["true"]))).rejects.toMatchObject({ stage: "mount", code: "EEXIST" });
    rmSync(join(box.root.path, "dev/console"));
    mkdirSync(join(box.root.path, "dev/console"));
    await expect(box.onTty(box.spec(["true"]))).rejects.toMatchObject({ stage: "mount", code: "EEXIST" });
  });

  it("is the controlling terminal's also by /dev/console: what is typed there arrives", async () => {
    const { output } = await box.onTty(box.spec(["sh", "-c", "read line; echo got $line"]), "hello\n");
    expect(output).toMatch(/got hello\n$/);
  });
});
