import { existsSync, readdirSync, readFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { closeFd, dup, pipe } from "./descriptors.js";
import { streamFromFd } from "./stream.js";
import { hasBusybox } from "./testing/container-root.js";
import { ContainerUnderTest, childrenOf, eventually, namespaceOf } from "./testing/container-under-test.js";
import { isRoot, TIMEOUT_MS, ZONE_INIT } from "./testing/foreground.js";
import { collect, specOf } from "./testing/init-under-test.js";

const [SIGHUP, SIGINT, SIGKILL, SIGUSR1, SIGTERM, SIGCHLD, SIGCONT, SIGSTOP] = [1, 2, 9, 10, 15, 17, 18, 19];

describe.skipIf(!isRoot || !hasBusybox)("the reaper (needs root and busybox-static)", { timeout: TIMEOUT_MS }, () => {
  let box: ContainerUnderTest;
  beforeEach(async () => {
    box = await ContainerUnderTest.start();
  }, TIMEOUT_MS);
  afterEach(() => box.stop(), TIMEOUT_MS);

  const reaper = { reaper: true };
  const runSh = async (script: string, more = {}) =>
    (await box.init.run(box.spec(["sh", "-c", script], { ...reaper, ...more }))).exit;
  const stateOf = (pid: number) => /^State:\s(\w)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
  const innerOf = (outer: number) => {
    const [inner] = childrenOf(outer);
    if (inner === undefined) throw new Error("the reaper has no child");
    return inner;
  };
  /** A shell that says which signals it got, and its output so far. */
  const startListener = async (more = {}) => {
    const script =
      'for s in HUP INT USR1 TERM CHLD; do trap "echo $s" $s; done; echo ready; while :; do sleep 0.02; done';
    const [stdin, stdout, token] = [pipe(), pipe(), box.init.token()];
    closeFd(stdin.write);
    let output = "";
    const stream = streamFromFd(stdout.read, { readable: true, writable: false });
    stream.on("data", (chunk: Buffer) => {
      output += chunk;
    });
    const stdio: [number, number, number] = [stdin.read, stdout.write, dup(stdout.write)];
    const { pid } = await box.init.client.spawn(token, box.spec(["sh", "-c", script], { ...reaper, ...more }), {
      stdio,
      kept: [],
    });
    const said = (line: string) => eventually(() => output.includes(`${line}\n`));
    await said("ready");
    return { token, pid, said };
  };

  it("is process 1 of its container, and the program is its child", async () => {
    expect(await box.sh("echo $$ $PPID; cat /proc/1/status | grep -c PPid", reaper)).toBe("2 1\n1");
  });

  it("ends with the exit code of its child", async () => {
    for (const code of [0, 1, 7, 137, 255]) expect(await runSh(`exit ${code}`)).toMatchObject({ code, signal: 0 });
  });

  it("ends with the signal of its child, though process 1 of a namespace could not die of it", async () => {
    for (const signal of [SIGTERM, SIGKILL, SIGHUP])
      expect(await runSh(`kill -${signal} $$`)).toMatchObject({ code: 0, signal });
  });

  it("reports exec's failure, and leaves nothing", async () => {
    const before = box.init.init.openDescriptors();
    expect(await box.failure(box.spec(["no-such-program"], reaper))).toEqual({ stage: "exec", code: "ENOENT" });
    expect(await box.failure(specOf(["/etc/passwd"], reaper))).toEqual({ stage: "exec", code: "EACCES" });
    expect(await box.init.client.list()).toEqual([]);
    await eventually(() => childrenOf(box.init.init.pid).length === 1); // the agent
    expect(box.init.init.openDescriptors()).toBe(before);
  });

  it("passes signals on", async () => {
    const { token, said } = await startListener();
    for (const [signal, name] of [
      [SIGHUP, "HUP"],
      [SIGINT, "INT"],
      [SIGUSR1, "USR1"],
      [SIGCHLD, "CHLD"],
      [SIGTERM, "TERM"],
    ] as const) {
      box.init.client.kill(token, signal);
      await said(name);
    }
    // What processes of the container send to process 1 as well.
    await box.exec(token, "kill -USR1 1");
    box.init.client.kill(token, SIGKILL);
    expect((await box.init.exitOf(token)).signal).toBe(SIGKILL);
  });

  it("ends a program that does not mind with SIGTERM, as process 1 it would not", async () => {
    const { token } = await box.startSleeper(reaper);
    box.init.client.kill(token, SIGTERM);
    expect(await box.init.exitOf(token)).toMatchObject({ code: 0, signal: SIGTERM });
  });

  it("passes SIGSTOP and SIGCONT on", async () => {
    const { token, pid } = await box.startSleeper(reaper);
    const inner = innerOf(pid);
    box.init.client.kill(token, SIGSTOP);
    await eventually(() => stateOf(inner) === "T");
    // It may still be on its way back to its wait; one that was stopped itself would never come there.
    await eventually(() => stateOf(pid) === "S");
    box.init.client.kill(token, SIGCONT);
    await eventually(() => stateOf(inner) === "S");
  });

  it("passes a signal for the group to the group", async () => {
    const { token, pid } = await box.init.startQuiet(
      box.spec(["sh", "-c", "trap '' TERM; (trap - TERM; exec sleep 1000) & wait; wait; sleep 1000"], reaper),
    );
    await eventually(() =>
      childrenOf(innerOf(pid)).some((child) => readFileSync(`/proc/${child}/comm`, "utf8") === "sleep\n"),
    );
    const [background] = childrenOf(innerOf(pid));
    box.init.client.kill(token, SIGTERM, { group: true });
    await eventually(() => !existsSync(`/proc/${background}`));
    expect(existsSync(`/proc/${pid}`)).toBe(true);
  });

  it("refuses a signal that is none, and says ESRCH after the end", async () => {
    const { token } = await box.startSleeper(reaper);
    box.init.client.kill(token, 65);
    expect(await box.init.error()).toMatchObject({ token, code: "EINVAL" });
    box.init.client.kill(token, SIGKILL);
    await box.init.exitOf(token);
    box.init.client.kill(token, SIGTERM);
    expect(await box.init.error()).toMatchObject({ token, code: "ESRCH" });
  });

  it("reaps the orphans of its container", async () => {
    const script =
      "for i in 1 2 3 4 5 6 7 8; do (sleep 0.01 &) ; done; while [ $(ls -d /proc/[0-9]* | wc -l) -gt 4 ]; do sleep 0.01; done; ls -d /proc/[0-9]* | wc -l";
    expect(await box.sh(script, reaper)).toBe("4"); // 1, the shell, ls and wc
  });

  it("reaps without a pid namespace, and is then nobody's process 1", async () => {
    const { stdout, exit } = await box.init.run(
      specOf(["sh", "-c", "(sleep 0.05 & echo $!); sleep 0.2; echo $PPID; exit 3"], reaper),
    );
    const [orphan, parent] = stdout.toString().split("\n").map(Number);
    expect(exit).toMatchObject({ code: 3, pid: parent });
    expect(existsSync(`/proc/${orphan}`)).toBe(false);
  });

  it("takes its child along when it is killed and is not the first of its namespace", async () => {
    const create = ["pid"] as const;
    const pod = await box.init.startQuiet(specOf([ZONE_INIT, "--pause"], { namespaces: { create } }));
    const namespaces = { create: ["mount"], join: { token: pod.token, which: ["pid"] } } as const;
    const { token, pid } = await box.startSleeper({ ...reaper, namespaces });
    const inner = innerOf(pid);
    expect(namespaceOf(inner, "pid")).toBe(namespaceOf(pod.pid, "pid"));
    box.init.client.kill(token, SIGKILL);
    expect((await box.init.exitOf(token)).signal).toBe(SIGKILL);
    await eventually(() => !existsSync(`/proc/${inner}`));
  });

  it("holds no descriptor but its way to PID 1: who closes its output is seen to", async () => {
    const { pid } = await box.startSleeper(reaper);
    await eventually(() => readdirSync(`/proc/${pid}/fd`).length === 1);
    expect(await box.sh("ls /proc/self/fd | wc -l", reaper)).toBe("4");
    const [stdin, stdout, token] = [pipe(), pipe(), box.init.token()];
    const output = collect(streamFromFd(stdout.read, { readable: true, writable: false }));
    const stdio: [number, number, number] = [stdin.read, stdout.write, dup(stdout.write)];
    await box.init.client.spawn(token, box.spec(["sh", "-c", "echo last; exec >&- 2>&-; read x"], reaper), {
      stdio,
      kept: [],
    });
    expect((await output).toString()).toBe("last\n");
    closeFd(stdin.write);
    expect(await box.init.exitOf(token)).toMatchObject({ code: 1, signal: 0 });
  });

  it("has what its child has and no more", async () => {
    const capabilities = { bounding: 1n, permitted: 1n, effective: 1n, inheritable: 0n, ambient: 0n };
    const { pid } = await box.startSleeper({ ...reaper, capabilities, noNewPrivileges: true, gid: 5, groups: [7] });
    const of = (one: number) =>
      readFileSync(`/proc/${one}/status`, "utf8").match(/^(Uid|Gid|Groups|Cap\w+|NoNewPrivs|Seccomp):.*$/gm);
    expect(of(pid)).toHaveLength(10);
    expect(of(pid)).toEqual(of(innerOf(pid)));
    const inside = await box.init.run(
      box.spec(["sh", "-c", "kill -TERM $$"], { ...reaper, uid: 1234, noNewPrivileges: true }),
    );
    expect(inside.exit.signal).toBe(SIGTERM);
  });

  it("has job control on a tty: ctrl-c reaches the program", async () => {
    const { output, token } = await box.onTty(
      box.spec(["sh", "-c", "trap 'echo got; exit 4' INT; echo ready; while :; do sleep 0.02; done"], reaper),
      "\x03",
      "ready",
    );
    expect(output).toMatch(/got\n/);
    expect((await box.init.exitOf(token)).code).toBe(4);
  });

  it("tells the next agent of the true end", async () => {
    const { token } = await box.startSleeper(reaper);
    await box.init.restartAgent();
    await box.init.client.list();
    box.init.client.kill(token, SIGTERM);
    expect(await box.init.exitOf(token)).toMatchObject({ signal: SIGTERM });
    expect(await box.init.client.list()).toMatchObject([
      { token, exited: { signal: SIGTERM }, spec: { reaper: true } },
    ]);
  });
});
