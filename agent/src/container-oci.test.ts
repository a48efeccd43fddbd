import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { ContainerLab, words } from "./container/testing/lab.js";

let lab: ContainerLab;

beforeAll(async () => {
  lab = await ContainerLab.start();
});
afterEach(() => lab.cleanAll());
afterAll(async () => {
  expect(await lab.stop()).toBe(0);
});

const CREATED = 1;
const RUNNING = 2;
const STOPPED = 4;

/** config.json of a bundle that runs this script. */
function bundle(text: string, process: object = {}, more: object = {}): Buffer {
  const capabilities = ["CAP_KILL", "CAP_SETUID", "CAP_SETGID", "CAP_CHOWN"];
  return Buffer.from(
    JSON.stringify({
      ociVersion: "1.0.2",
      hostname: "bundle",
      process: {
        args: ["sh", "-c", text],
        env: ["PATH=/bin", "FROM=bundle"],
        cwd: "/",
        user: { uid: 0, gid: 0 },
        capabilities: { bounding: capabilities, effective: capabilities, permitted: capabilities },
        ...process,
      },
      root: { path: "elsewhere" },
      mounts: [
        { destination: "/proc", type: "proc", source: "proc" },
        { destination: "/dev", type: "tmpfs", source: "tmpfs", options: ["nosuid", "mode=755"] },
        {
          destination: "/dev/pts",
          type: "devpts",
          source: "devpts",
          options: ["newinstance", "ptmxmode=0666", "mode=0620"],
        },
      ],
      linux: {
        cgroupsPath: "/elsewhere",
        namespaces: ["pid", "mount", "uts", "ipc"].map((type) => ({ type })),
        seccomp: {
          defaultAction: "SCMP_ACT_ALLOW",
          syscalls: [{ names: ["mkdir", "mkdirat"], action: "SCMP_ACT_ERRNO", errnoRet: 122 }],
        },
      },
      ...more,
    }),
  );
}

const create = (id: string, ociConfig: Uint8Array, request: object = {}) =>
  lab.agent.containers.create({ id, rootfs: lab.rootfs, ociConfig, ...request });
const attach = (id: string, more: object = {}) =>
  lab.agent.exec({ spec: { id: `${id}-init`, containerId: id, init: true, ...more } });

describe("a container of an OCI bundle", () => {
  it("runs its init under the stdio contract, and is gone after Delete", async () => {
    await create("run", bundle("hostname; echo $FROM; id -u; cat; echo err >&2; exit 5"), {
      nameservers: ["10.0.0.1"],
    });
    const exec = lab.agent.exec({ spec: { id: "run-init", containerId: "run", init: true, stdin: true }, stdin: true });
    await exec.opened;
    exec.send("from stdin\n");
    exec.sendEof();
    const result = await exec.result;
    expect([result.stdout.toString(), result.stderr.toString(), result.code]).toEqual([
      ...["bundle\nbundle\n0\nfrom stdin\n", "err\n", 5],
    ]);
    const { container } = await lab.agent.containers.get({ id: "run" });
    expect(container).toMatchObject({ oci: true, state: STOPPED, hostname: "bundle" });
    const { process } = await lab.agent.processes.get({ id: "run-init" });
    expect(process?.argv?.map((word) => Buffer.from(word).toString())).toEqual([
      "sh",
      "-c",
      expect.stringContaining("exit 5"),
    ]);
    const again = lab.agent.processes.start({ spec: { containerId: "run", init: true } });
    await expect(again).rejects.toMatchObject({ code: "FAILED_PRECONDITION", reason: "CONTAINER_STOPPED" });
    await lab.clean("run");
    const run = join(lab.agent.directory, "run");
    expect([readdirSync(join(run, "containers")), readdirSync(join(run, "crun"))]).toEqual([[], []]);
    if (lab.cgroups !== undefined) expect(existsSync(join(lab.cgroups, "run"))).toBe(false);
  });

  it("has a tty of the size that was asked for, and /dev/console", async () => {
    const text =
      "stty size; test -t 0 && ls -l /dev/console | cut -c1; read line; echo got $line; stty size; read last";
    await create("tty", bundle(text, { terminal: true }));
    const exec = lab.agent.exec({
      spec: { id: "tty-init", containerId: "tty", init: true, stdin: true, tty: { rows: 33, columns: 111 } },
      stdin: true,
    });
    await exec.opened;
    exec.send("early\n");
    await exec.untilOutput("got early");
    await exec.untilOutput("33 111\r\nc");
    await lab.agent.processes.resizeTty({ id: "tty-init", size: { rows: 44, columns: 55 } });
    exec.send("x\n");
    const { process } = await lab.agent.processes.wait({ id: "tty-init" });
    expect(process).toMatchObject({ tty: true, exit: { code: 0 } });
    expect((await exec.result).stdout.toString()).toContain("33 111");
  });

  it("gives a later process a tty of its own devpts", async () => {
    await create("exec", bundle("exec sleep 600"));
    await attach("exec").opened;
    await expect.poll(() => lab.sh("exec", "tty", { tty: { rows: 24, columns: 80 } })).toBe("/dev/pts/0\r\n");
  });

  it("gives later processes what the bundle's has", async () => {
    await create(
      "exec",
      bundle("sleep 600", { noNewPrivileges: true, user: { uid: 1000, gid: 1000, additionalGids: [77] } }),
    );
    await attach("exec").opened;
    await expect.poll(async () => (await lab.agent.containers.get({ id: "exec" })).container?.state).toBe(RUNNING);
    const text =
      "hostname; echo $FROM; id -u; id -G; grep -E 'CapBnd|NoNewPrivs|Seccomp:' /proc/self/status; mkdir /tmp; ps | grep -c '[s]leep 600'";
    expect(await lab.sh("exec", text)).toBe(
      "bundle\nbundle\n1000\n1000 77\nCapBnd:\t00000000000000e1\nNoNewPrivs:\t1\nSeccomp:\t2\n1\nmkdir: can't create directory '/tmp': Disk quota exceeded\n",
    );
    expect(await lab.sh("exec", "id -u; echo $FROM", { user: "0", env: [Buffer.from("FROM=exec")] })).toBe("0\nexec\n");
    expect(await lab.sh("exec", "grep Seccomp: /proc/self/status", { user: "0", privileged: true })).toBe(
      "Seccomp:\t0\n",
    );
    if (lab.cgroups !== undefined) {
      const { tasks } = await lab.agent.processes.list({ containerId: "exec" });
      const inside = readFileSync(join(lab.cgroups, "exec/cgroup.procs"), "latin1").trim().split("\n");
      expect(inside).toEqual(tasks?.map(({ pid }) => String(pid)));
    }
  });

  it("survives the agent, before its start and after", async () => {
    await create("stay", bundle("echo started; cat; echo end; exit 6"));
    await lab.agent.processes.start({
      spec: { id: "stay-init", containerId: "stay", init: true, stdin: true },
      hold: true,
    });
    expect((await lab.agent.containers.get({ id: "stay" })).container).toMatchObject({ state: CREATED });
    await lab.agent.killAgent();
    expect((await lab.agent.processes.get({ id: "stay-init" })).process).toMatchObject({ state: CREATED, init: true });
    await lab.agent.processes.start({ id: "stay-init" });
    expect((await lab.agent.containers.get({ id: "stay" })).container).toMatchObject({ state: RUNNING });
    await lab.agent.killAgent();
    const exec = lab.agent.exec({ processId: "stay-init", stdin: true });
    await exec.opened;
    exec.send("kept\n");
    exec.sendEof();
    const { process } = await lab.agent.processes.wait({ id: "stay-init" });
    expect(process?.exit).toMatchObject({ code: 6 });
    await exec.result.catch(() => {});
    expect(exec.output().toString()).toContain("kept\nend\n");
    expect(process?.argv?.length).toBe(3);
  });

  it("is killed by force, held or running", async () => {
    await create("f1", bundle("sleep 600"));
    await lab.agent.processes.start({ spec: { id: "f1-init", containerId: "f1", init: true }, hold: true });
    await lab.agent.containers.delete({ id: "f1", force: true });
    expect((await lab.agent.processes.wait({ id: "f1-init" })).process).toMatchObject({ state: 6 });
    await create("f2", bundle("sleep 600"));
    await lab.agent.processes.start({ spec: { id: "f2-init", containerId: "f2", init: true } });
    await lab.agent.containers.delete({ id: "f2", force: true });
    expect((await lab.agent.processes.wait({ id: "f2-init" })).process?.exit).toMatchObject({ signal: 9 });
    await create("f3", bundle("sleep 600"));
    await lab.agent.processes.start({ spec: { id: "f3-init", containerId: "f3", init: true }, hold: true });
    await lab.agent.processes.delete({ id: "f3-init" });
    for (const id of ["f1-init", "f2-init"]) await lab.agent.processes.delete({ id });
    await lab.agent.containers.delete({ id: "f3", force: true });
    expect(readdirSync(join(lab.agent.directory, "run/crun"))).toEqual([]);
  });

  it("has hooks, mounts of the request beside its own, and its limits to integers of 64 bits", async () => {
    const hooks = {
      createRuntime: [
        {
          path: "/bin/sh",
          args: ["sh", "-c", `echo hook > ${lab.work}/hook; cat /proc/self/cgroup > ${lab.work}/hook-cgroup`],
        },
      ],
    };
    const config = bundle(
      "cat /data/x; ulimit -n; ulimit -c; grep -c ' / .*ro[,]' /proc/self/mounts",
      {
        rlimits: [
          { type: "RLIMIT_NOFILE", soft: 99, hard: 99 },
          { type: "RLIMIT_CORE", soft: 0, hard: 0 },
        ],
      },
      { hooks },
    );
    const text = config
      .toString()
      .replace('"soft":0,"hard":0', '"soft":18446744073709551615,"hard":18446744073709551615');
    await create("hook", Buffer.from(text), {
      rootfs: { ...lab.rootfs, readOnly: true },
      mounts: [{ type: "files", target: "/data", files: [{ path: "x", data: Buffer.from("mounted\n") }] }],
    });
    const result = await attach("hook").result;
    expect([result.stdout.toString(), result.stderr.toString()]).toEqual(["mounted\n99\nunlimited\n1\n", ""]);
    expect(readFileSync(join(lab.work, "hook"), "utf8")).toBe("hook\n");
    // Of the zone's limits, not PID 1's none.
    if (lab.cgroups !== undefined) {
      expect(readFileSync(join(lab.work, "hook-cgroup"), "utf8")).toMatch(/^0::.*\/\.zone$/m);
    }
  });
});

describe("a bundle that cannot run", () => {
  for (const [what, process, reason, exitCode] of [
    ["has a program that is not there", { args: ["nope"] }, "EXEC_NOT_FOUND", 127],
    ["has a program that cannot be executed", { args: ["/bin/text"] }, "EXEC_NOT_EXECUTABLE", 126],
    ["has a cwd that is a file", { cwd: "/bin/busybox" }, "CRUN_FAILED", 125],
  ] as const) {
    it(`${what}, says so, and can be tried again`, async () => {
      await create("no", bundle("true", process));
      const { failed } = await attach("no").result;
      expect(failed).toMatchObject({ reason, exitCode });
      await lab.agent.processes.delete({ id: "no-init" });
      const held = lab.agent.processes.start({ spec: { id: "no-init", containerId: "no", init: true }, hold: true });
      await expect(held).rejects.toMatchObject({ reason });
      expect(readdirSync(join(lab.agent.directory, "run/crun"))).toEqual([]);
      expect((await lab.agent.processes.list({})).processes ?? []).toEqual([]);
    });
  }

  it("has a hook that fails, and leaves nothing", async () => {
    const hooks = { createRuntime: [{ path: "/bin/false" }] };
    await create("bad", bundle("true", {}, { hooks }));
    const { failed } = await attach("bad").result;
    expect(failed).toMatchObject({ reason: "CRUN_FAILED", message: expect.stringContaining("hook") });
    await lab.agent.processes.delete({ id: "bad-init" });
  });

  it("is refused when it is no bundle", async () => {
    await expect(create("x", Buffer.from("{}"))).rejects.toMatchObject({ reason: "INVALID_OCI_CONFIG" });
    await expect(create("x", bundle("true", { args: [] }))).rejects.toMatchObject({ reason: "INVALID_OCI_CONFIG" });
    await create("own", Buffer.alloc(0));
    const empty = lab.agent.processes.start({ spec: { containerId: "own", init: true } });
    await expect(empty).rejects.toMatchObject({ reason: "ARGV_EMPTY" });
    await lab.agent.processes.start({
      spec: { id: "own-init", containerId: "own", init: true, argv: words("sleep", "9") },
    });
  });
});
