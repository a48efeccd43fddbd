import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { ContainerLab, script, words } from "./container/testing/lab.js";

let lab: ContainerLab;

beforeAll(async () => {
  lab = await ContainerLab.start();
});
afterEach(() => lab.cleanAll());
afterAll(async () => {
  expect(await lab.stop()).toBe(0);
});

const tty = { rows: 31, columns: 97 };

describe("a tty in a container", () => {
  it("of an exec has its name in the container's own devpts", async () => {
    await lab.run("box");
    expect(await lab.sh("box", "tty; tty <&2; stty size", { tty })).toBe("/dev/pts/0\r\n/dev/pts/0\r\n31 97\r\n");
    // The agent keeps a process's tty until it is deleted: this is another one.
    const user = "tty; id -u; echo err > /dev/stderr; echo own > $(tty); stat -c '%u %a' $(tty)";
    expect(await lab.sh("box", user, { tty, user: "web" })).toBe("/dev/pts/1\r\n1000\r\nerr\r\nown\r\n1000 620\r\n");
    const first = lab.agent.exec({
      spec: { containerId: "box", argv: script("tty; read line; echo got $line"), tty, stdin: true },
      stdin: true,
    });
    await first.untilOutput("/dev/pts/2");
    expect(await lab.sh("box", "tty", { tty })).toBe("/dev/pts/3\r\n");
    first.send("line\n");
    expect((await first.result).stdout.toString()).toContain("got line\r\n");
    const { processes } = await lab.agent.processes.list({ containerId: "box" });
    for (const { id, init } of processes ?? []) if (!init) await lab.agent.processes.delete({ id: id ?? "" });
    await expect.poll(() => lab.sh("box", "ls /dev/pts")).toBe("ptmx\n");
  });

  it("of an init is /dev/console too", async () => {
    await lab.agent.containers.create({ id: "box", rootfs: lab.rootfs });
    const text = "tty; ls -l /dev/console | cut -c1; echo there > /dev/console";
    const init = lab.agent.exec({ spec: { containerId: "box", init: true, argv: script(text), tty } });
    expect((await init.result).stdout.toString()).toBe("/dev/pts/0\r\nc\r\nthere\r\n");
    // A process that is held has its tty before the container runs.
    const held = { spec: { id: "held", containerId: "box", argv: script("tty; stty size"), tty }, hold: true };
    await lab.agent.processes.start(held);
    await lab.agent.processes.start({
      spec: { id: "box-init", containerId: "box", init: true, argv: words("sleep", "600") },
    });
    const result = await lab.agent.exec({ processId: "held", start: true }).result;
    expect(result.stdout.toString()).toBe("/dev/pts/1\r\n31 97\r\n");
  });

  it("is the zone's, without a name, where the container has no ptmx, or put something in its place", async () => {
    for (const put of [
      "true",
      "mkdir /dev/pts/ptmx",
      "mkfifo /dev/pts/ptmx",
      "echo > /dev/pts/ptmx",
      "mknod /dev/pts/ptmx c 1 3",
      "mknod /dev/pts/ptmx c 5 2", // the kernel finds no devpts beside it
      "mknod /dev/pts/ptmx b 5 2",
      "mount -t devpts -o newinstance,ptmxmode=666 x /real; ln -s /real/ptmx /dev/pts/ptmx",
      "mount -t devpts -o newinstance,ptmxmode=666,max=1 x /dev/pts; exec 3< /dev/pts/ptmx; sleep 600 > /dev/null 2>&1 & true",
    ]) {
      await lab.run("box", { privileged: true });
      const done = await lab.sh("box", `mkdir -p /real; mount -t tmpfs x /dev/pts && { ${put}; } && echo done`);
      expect([put, done]).toEqual([put, "done\n"]);
      const output = await lab.sh("box", "tty; stty size; echo works >&2", { tty });
      expect([put, output]).toEqual([put, "not a tty\r\n31 97\r\nworks\r\n"]);
      await lab.clean("box");
    }
  });

  it("is of the devpts that the container has mounted itself", async () => {
    await lab.run("box", { privileged: true });
    await lab.sh("box", "mount -t devpts -o newinstance,ptmxmode=666 x /dev/pts");
    expect(await lab.sh("box", "tty; stty size", { tty })).toBe("/dev/pts/0\r\n31 97\r\n");
  });
});
