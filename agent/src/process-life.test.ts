import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { RunningAgent } from "./testing/running-agent.js";

let agent: RunningAgent;
beforeAll(async () => {
  agent = await RunningAgent.start();
});
afterAll(async () => {
  expect(await agent.stop()).toBe(0);
});

const argv = (...words: string[]) => words.map((word) => Buffer.from(word));
const script = (text: string) => argv("/bin/sh", "-c", text);

describe("Start", () => {
  it("runs, waits and deletes", async () => {
    const { process: started } = await agent.processes.start({
      spec: { id: "one", argv: script("exit 7"), user: "nobody" },
    });
    expect(started).toMatchObject({ id: "one", user: "nobody" });
    const { process: ended } = await agent.processes.wait({ id: "one" });
    expect(ended).toMatchObject({ state: 5, exit: { code: 7 } });
    await agent.processes.delete({ id: "one" });
    await expect(agent.processes.get({ id: "one" })).rejects.toMatchObject({
      code: "NOT_FOUND",
      reason: "PROCESS_UNKNOWN",
    });
  });

  for (const [what, spec, code, reason] of [
    ["a missing program", { argv: argv("/no/such") }, "NOT_FOUND", "EXEC_NOT_FOUND"],
    ["a program that is not in PATH", { argv: argv("no-such-program") }, "NOT_FOUND", "EXEC_NOT_FOUND"],
    ["a file that is not executable", { argv: argv("/etc/passwd") }, "PERMISSION_DENIED", "EXEC_NOT_EXECUTABLE"],
    ["a directory", { argv: argv("/etc") }, "PERMISSION_DENIED", "EXEC_NOT_EXECUTABLE"],
    ["an unknown user", { argv: argv("true"), user: "nosuchuser" }, "NOT_FOUND", "USER_UNKNOWN"],
    ["an unknown group", { argv: argv("true"), user: "root:nosuchgroup" }, "NOT_FOUND", "GROUP_UNKNOWN"],
    ["a cwd that is a file", { argv: argv("true"), cwd: "/etc/passwd/x" }, "NOT_FOUND", "CWD_NOT_FOUND"],
    ["an unknown container", { argv: argv("true"), containerId: "none" }, "NOT_FOUND", "CONTAINER_UNKNOWN"],
    ["no argv", {}, "INVALID_ARGUMENT", "ARGV_EMPTY"],
    ["a bad id", { argv: argv("true"), id: "../x" }, "INVALID_ARGUMENT", "INVALID_ID"],
    ["a bad environment", { argv: argv("true"), env: argv("novalue") }, "INVALID_ARGUMENT", "INVALID_ENV"],
    [
      "a bad capability",
      { argv: argv("true"), capabilities: { names: ["CAP_X"] } },
      "INVALID_ARGUMENT",
      "INVALID_CAPABILITY",
    ],
    ["a bad limit", { argv: argv("true"), rlimits: [{ type: "x" }] }, "INVALID_ARGUMENT", "INVALID_RLIMIT"],
    ["a bad tty", { argv: argv("true"), tty: { rows: 0, columns: 80 } }, "INVALID_ARGUMENT", "INVALID_SIZE"],
    ["too much", { argv: [Buffer.from("true"), Buffer.alloc(2_200_000, "x")] }, "INVALID_ARGUMENT", "SPEC_TOO_LARGE"],
    [
      "one argument that is too long",
      { argv: [Buffer.from("true"), Buffer.alloc(200_000, "x")] },
      "INVALID_ARGUMENT",
      "SPEC_TOO_LARGE",
    ],
  ] as const) {
    it(`refuses ${what} with ${reason}, and leaves nothing`, async () => {
      const refused = agent.processes.start({
        spec: { ...spec, id: ("id" in spec && spec.id) || "refused" } as object,
      });
      await expect(refused).rejects.toMatchObject({ code, reason, domain: "zone.agent" });
      await expect(agent.processes.get({ id: "refused" })).rejects.toMatchObject({ reason: "PROCESS_UNKNOWN" });
    });
  }

  it("takes each id once", async () => {
    await agent.processes.start({ spec: { id: "twice", argv: argv("true") } });
    const again = agent.processes.start({ spec: { id: "twice", argv: argv("true") } });
    await expect(again).rejects.toMatchObject({ code: "ALREADY_EXISTS", reason: "PROCESS_EXISTS" });
    await expect(agent.processes.start({ id: "twice" })).rejects.toMatchObject({ reason: "PROCESS_NOT_CREATED" });
    await agent.processes.wait({ id: "twice" });
    await agent.processes.delete({ id: "twice" });
  });

  it("passes argv, env, cwd, umask, limits, groups and capabilities on", async () => {
    const text = `printf '%s|' "$@"; printenv X; pwd; umask; ulimit -n; id -G; grep -E 'CapBnd|NoNewPrivs' /proc/self/status`;
    const result = await agent.exec({
      spec: {
        argv: [
          ...script(text),
          Buffer.from("sh"),
          Buffer.from([0xff, 0x0a]),
          Buffer.from(""),
          Buffer.alloc(100_000, "y"),
        ],
        env: argv("X=1\n2", "X=3\n4", "PATH=/usr/bin:/bin"),
        cwd: `${agent.directory}/made/for/it`,
        umask: 0o027,
        rlimits: [{ type: "nofile", soft: 77, hard: 99 }],
        additionalGroups: ["12", "daemon"],
        capabilities: { names: ["chown", "CAP_KILL"] },
        noNewPrivileges: true,
      },
    }).result;
    expect(result.stderr.toString()).toBe("");
    const expected = Buffer.concat([
      ...[Buffer.from([0xff, 0x0a]), Buffer.from("||"), Buffer.alloc(100_000, "y"), Buffer.from("|3\n4\n")],
      Buffer.from(`${agent.directory}/made/for/it\n0027\n77\n0 1 12\nCapBnd:\t0000000000000021\nNoNewPrivs:\t1\n`),
    ]);
    const sorted = (bytes: Buffer) => bytes.toString("latin1").replace("0 12 1", "0 1 12");
    expect(sorted(result.stdout)).toBe(sorted(expected));
  });

  it("lets another user open its stdio again, and drops root's capabilities", async () => {
    const text = "echo again > /dev/stdout; id -u; grep CapEff /proc/self/status";
    const result = await agent.shell(text, { spec: { user: "nobody" } }).result;
    expect(result.stderr.toString()).toBe("");
    expect(result.stdout.toString()).toBe("again\n65534\nCapEff:\t0000000000000000\n");
  });
});

describe("Attach with a spec", () => {
  for (const [what, words, exitCode, reason] of [
    ["missing", ["/no/such"], 127, "EXEC_NOT_FOUND"],
    ["not executable", ["/etc/passwd"], 126, "EXEC_NOT_EXECUTABLE"],
  ] as const) {
    it(`ends with failed, ${exitCode}, for a program that is ${what}`, async () => {
      const result = await agent.exec({ spec: { argv: argv(...words) } }).result;
      expect(result.failed).toMatchObject({ reason, exitCode });
      expect(result.order).toEqual(["opened", "eof", "eof", "failed"]);
    });
  }

  it("tells an unknown user as failed, 125", async () => {
    const result = await agent.shell("true", { spec: { user: "nosuchuser" } }).result;
    expect(result.failed).toMatchObject({ reason: "USER_UNKNOWN", exitCode: 125 });
  });

  it("refuses a spec that is wrong, and a stream that does not begin with open", async () => {
    await expect(agent.exec({ spec: {} }).result).rejects.toMatchObject({ reason: "ARGV_EMPTY" });
    await expect(agent.exec({ processId: "none" }).result).rejects.toMatchObject({ reason: "PROCESS_UNKNOWN" });
    const call = agent.processes.attach();
    const failed = new Promise((resolve) => call.on("error", resolve));
    call.on("data", () => {});
    call.write({ stdinEof: {} });
    expect(await failed).toMatchObject({ code: 3 });
  });

  it("ends with NOT_FOUND when the process is deleted", async () => {
    await agent.processes.start({ spec: { id: "gone", argv: argv("true") }, hold: true });
    const exec = agent.exec({ processId: "gone" });
    const waited = agent.processes.wait({ id: "gone" });
    await exec.opened;
    await Promise.all([
      expect(exec.result).rejects.toMatchObject({ reason: "PROCESS_UNKNOWN" }),
      expect(waited).rejects.toMatchObject({ reason: "PROCESS_UNKNOWN" }),
      agent.processes.delete({ id: "gone" }),
    ]);
  });
});

describe("Signal, Wait, List and Delete", () => {
  it("report a death by signal, and signal nobody after it", async () => {
    await agent.processes.start({ spec: { id: "killed", argv: argv("sleep", "600") } });
    await expect(agent.processes.delete({ id: "killed" })).rejects.toMatchObject({ reason: "PROCESS_RUNNING" });
    await expect(agent.processes.signal({ id: "killed", signal: 65 })).rejects.toMatchObject({
      reason: "INVALID_SIGNAL",
    });
    const waits = Array.from({ length: 5 }, () => agent.processes.wait({ id: "killed" }));
    await agent.processes.signal({ id: "killed", signal: 9 });
    for (const { process: ended } of await Promise.all(waits)) {
      expect(ended).toMatchObject({ state: 5, exit: { signal: 9 } });
      expect(ended?.exit?.code ?? 0).toBe(0);
    }
    await expect(agent.processes.signal({ id: "killed", signal: 9 })).rejects.toMatchObject({
      reason: "PROCESS_NOT_RUNNING",
    });
  });

  it("lets go of a Wait that is cancelled", async () => {
    await agent.processes.start({ spec: { id: "long", argv: argv("sleep", "600") } });
    const cancel = new AbortController();
    const waited = agent.processes.wait({ id: "long" }, { signal: cancel.signal });
    cancel.abort();
    await expect(waited).rejects.toMatchObject({ code: "CANCELLED" });
    await expect(agent.processes.wait({ id: "long" }, { timeoutMs: 50 })).rejects.toMatchObject({
      code: "DEADLINE_EXCEEDED",
    });
    await agent.processes.signal({ id: "long", signal: 15 });
    expect((await agent.processes.wait({ id: "long" })).process?.exit?.signal).toBe(15);
  });

  it("list what was started in order, and what runs", async () => {
    const marker = `${3600 + process.pid}`;
    await agent.processes.start({ spec: { id: "listed", argv: argv("sleep", marker) } });
    const { processes, tasks } = await agent.processes.list({});
    expect(processes?.at(-1)).toMatchObject({ id: "listed", state: 3 });
    const task = tasks?.find((candidate) => candidate.pid === processes?.at(-1)?.pid);
    expect(Buffer.from(task?.command ?? []).toString()).toBe(`sleep ${marker}`);
    expect(Math.abs(Number(task?.startedAt?.seconds) - Date.now() / 1000)).toBeLessThan(120);
    const kernel = tasks?.find((candidate) => candidate.pid === 2);
    expect(Buffer.from(kernel?.command ?? []).toString()).toBe("[kthreadd]");
    await agent.processes.signal({ id: "listed", signal: 9 });
  });
});

describe("a thousand execs, a hundred at once", () => {
  it("all have the right status, and leave nothing behind", async () => {
    const one = async (index: number) => {
      const result = await agent.shell(`echo ${index}; exit ${index % 200}`, { spec: { id: `e${index}` } }).result;
      expect([result.stdout.toString(), result.code]).toEqual([`${index}\n`, index % 200]);
      await agent.processes.delete({ id: `e${index}` });
    };
    await one(0);
    const before = [agent.descriptors("agent"), agent.descriptors("init")];
    let next = 1;
    const worker = async () => {
      while (next <= 1000) await one(next++);
    };
    await Promise.all(Array.from({ length: 100 }, worker));
    expect([agent.descriptors("agent"), agent.descriptors("init")]).toEqual(before);
    const children = readFileSync(`/proc/${agent.agentPid}/task/${agent.agentPid}/children`, "latin1");
    expect(children.trim()).toBe("");
  }, 300_000);
});
