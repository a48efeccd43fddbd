import { agent } from "@zone/proto";
import { expect } from "vitest";
import { argv } from "../../harness/exec.js";
import { attached } from "../attached.js";
import { get, run, type Spec, shell, withProcess } from "../process-case.js";
import { type Row, refused, works } from "../row.js";

const { PROCESS_STATE_CREATED, PROCESS_STATE_EXITED, PROCESS_STATE_RUNNING } = agent.ProcessState;

/** A Start that is refused, after which there is no such process. */
function notStarted(field: string, reason: string, name: string, spec: Spec): Row {
  return refused(
    "Process.Start",
    ["StartRequest.spec", `ProcessSpec.${field.split(" ")[0]}`, ...field.split(" ").slice(1)],
    reason,
    name,
    (zone) => zone.bridge.process_.start({ spec: shell("exit 0", spec) }, zone.in()),
    async (zone) => {
      await expect(get(zone)).rejects.toMatchObject({ reason: "PROCESS_UNKNOWN" });
    },
  );
}

export const startRows: Row[] = [
  works(
    "Process.Start",
    [
      ...["StartRequest.spec", "ProcessSpec.id", "ProcessSpec.container_id", "ProcessSpec.argv", "ProcessSpec.env"],
      ...["ProcessSpec.cwd", "ProcessSpec.user", "ProcessSpec.additional_groups", "ProcessSpec.rlimits", "Rlimit.type"],
      ...["Rlimit.soft", "Rlimit.hard", "Rlimit.unlimited", "ProcessSpec.capabilities", "Capabilities.names"],
      ...["ProcessSpec.no_new_privileges", "ProcessSpec.umask", "ProcessSpec.oom_score_adj", "WaitRequest.id"],
      ...["GetRequest.id", "DeleteRequest.id", "AttachOpen.process_id"],
    ],
    "gives a process all that its spec says",
    async (zone) => {
      const script = [
        'echo "$A|$B|$HOME|$1"; pwd; echo $(id -u) $(id -g) $(id -G)',
        "ulimit -n; ulimit -Hn; ulimit -c; umask; cat /proc/self/oom_score_adj",
        "grep -E '^(CapEff|CapBnd|NoNewPrivs):' /proc/self/status; exit 3",
      ].join("\n");
      const spec = shell("", {
        ...{
          argv: argv("sh", "-c", script, "sh", "an argument"),
          env: argv("A=1", "B=x y", "A=2"),
          cwd: "/tmp/made/here",
        },
        ...{ user: "nobody", additionalGroups: ["root", "1234"], umask: 0o77, oomScoreAdj: 500 },
        rlimits: [
          { type: "nofile", soft: 100, hard: 200 },
          { type: "core", unlimited: true },
        ],
        ...{ capabilities: { names: ["CAP_CHOWN", "kill"] }, noNewPrivileges: true },
      });
      await withProcess(zone, spec, async () => {
        const { process } = await zone.bridge.process_.wait({ id: "case" }, zone.in());
        expect(process).toMatchObject({
          state: PROCESS_STATE_EXITED,
          user: "nobody",
          containerId: "main",
          exit: { code: 3 },
        });
        const { stdout, stderr } = await attached(zone, { processId: "case" });
        expect({ stdout: stdout.split("\n"), stderr }).toEqual({
          stdout: [
            ...["2|x y|/home|an argument", "/tmp/made/here", "65534 65534 65534 0 1234"],
            ...["100", "200", "unlimited", "0077", "500"],
            ...["CapEff:\t0000000000000000", "CapBnd:\t0000000000000021", "NoNewPrivs:\t1", ""],
          ],
          stderr: "",
        });
      });
      await zone.out("rm -r /tmp/made");
    },
  ),
  works("Process.Start", ["StartRequest.hold", "StartRequest.id"], "holds a process, and starts it later", (zone) =>
    withProcess(
      zone,
      shell("exec sleep 100000"),
      async () => {
        expect(await get(zone)).toMatchObject({ state: PROCESS_STATE_CREATED });
        const { process } = await zone.bridge.process_.start({ id: "case" }, zone.in());
        expect(process).toMatchObject({ state: PROCESS_STATE_RUNNING });
        expect(process?.pid).toBeGreaterThan(1);
      },
      true,
    ),
  ),
  works(
    "Process.Start",
    ["ProcessSpec.cgroup"],
    "puts a process of the zone itself where it is asked to",
    async (zone) => {
      await zone.bridge.cgroup.create({ path: "mine" }, zone.in());
      const spec = { id: "case", cgroup: "mine", argv: argv("/sbin/zone-init", "--pause") };
      await withProcess(zone, spec, async () => {
        const { cgroups } = await zone.bridge.cgroup.list({}, zone.in());
        expect(cgroups.find(({ path }) => path === "mine")).toMatchObject({ populated: true });
      });
      await zone.bridge.cgroup.delete({ path: "mine" }, zone.in());
    },
  ),
  works(
    "Process.Start",
    ["ProcessSpec.init", "ProcessSpec.reaper"],
    "makes a container's init, with a reaper",
    (zone) =>
      zone.withContainer(
        { id: "reaped" },
        async (id) => {
          // The shell in the middle ends at once, and its child is the init's to reap, which is not the process that was asked for.
          const { stdout } = await zone.sh("sh -c 'true & exec true'; ps -o pid,args", id);
          expect(stdout.toString()).toMatch(/^ +[2-9] \S*sleep 100000$/m);
          await zone.out("while grep -q '^State:.Z' /proc/[0-9]*/status; do sleep 0.1; done 2>/dev/null", id);
          expect(await get(zone, id)).toMatchObject({ init: true, state: PROCESS_STATE_RUNNING });
        },
        { reaper: true },
      ),
  ),
  works("Process.Start", ["ProcessSpec.privileged"], "gives all capabilities and no seccomp filter", async (zone) => {
    const { stdout } = await run(zone, shell("grep -E '^(CapEff|Seccomp):' /proc/self/status", { privileged: true }));
    expect(stdout).toBe("CapEff:\t000001ffffffffff\nSeccomp:\t0\n");
    expect(await zone.out("grep -E '^(CapEff|Seccomp):' /proc/self/status")).toBe(
      "CapEff:\t00000000a80425fb\nSeccomp:\t2",
    );
  }),

  notStarted("argv", "ARGV_EMPTY", "nothing to run", { argv: [] }),
  notStarted("argv", "INVALID_ARGV", "a NUL in an argument", { argv: argv("/bin/true", "a\0b") }),
  notStarted("argv", "SPEC_TOO_LARGE", "more arguments than the kernel takes", {
    argv: Array(65_537).fill(Buffer.from("x")),
  }),
  notStarted("argv", "EXEC_NOT_FOUND", "a program that is not there", { argv: argv("no-such-program") }),
  notStarted("argv", "EXEC_NOT_EXECUTABLE", "a file that is no program", { argv: argv("/etc/passwd") }),
  notStarted("env", "INVALID_ENV", "a variable without a value", { env: argv("NAME") }),
  notStarted("cwd", "CWD_NOT_FOUND", "a relative cwd", { cwd: "tmp" }),
  notStarted("cwd", "CWD_NOT_FOUND", "a cwd below a file", { cwd: "/etc/passwd/here" }),
  notStarted("user", "INVALID_USER_SPEC", "a user of three parts", { user: "a:b:c" }),
  notStarted("user", "USER_UNKNOWN", "a user that is not in passwd", { user: "somebody" }),
  notStarted("user", "GROUP_UNKNOWN", "a user's group that is not in group", { user: "root:somebody" }),
  notStarted("additional_groups", "GROUP_UNKNOWN", "a group that is not in group", { additionalGroups: ["somebody"] }),
  notStarted("additional_groups", "INVALID_USER_SPEC", "a group that is none", { additionalGroups: ["a:b"] }),
  notStarted("rlimits Rlimit.type", "INVALID_RLIMIT", "a limit that there is not", { rlimits: [{ type: "files" }] }),
  notStarted("rlimits Rlimit.type", "INVALID_RLIMIT", "a limit twice", { rlimits: [{ type: "cpu" }, { type: "cpu" }] }),
  notStarted("rlimits Rlimit.soft", "INVALID_RLIMIT", "a soft limit above the hard one", {
    rlimits: [{ type: "nofile", soft: 2, hard: 1 }],
  }),
  notStarted("rlimits Rlimit.hard", "INVALID_RLIMIT", "a hard limit above the kernel's", {
    rlimits: [{ type: "nofile", soft: 1, hard: 2 ** 31 }],
  }),
  notStarted("capabilities Capabilities.names", "INVALID_CAPABILITY", "a capability that there is not", {
    capabilities: { names: ["CAP_FLY"] },
  }),
  notStarted("tty WindowSize.rows", "INVALID_SIZE", "a tty without rows", { tty: { rows: 0, columns: 80 } }),
  notStarted("tty WindowSize.columns", "INVALID_SIZE", "a tty that is too wide", {
    tty: { rows: 24, columns: 65_536 },
  }),
  notStarted("output_buffer_bytes", "INVALID_SIZE", "a buffer that is too small", { outputBufferBytes: 65_535 }),
  notStarted("output_policy", "INVALID_SIZE", "a policy that there is not", {
    outputPolicy: 3 as number as NonNullable<Spec["outputPolicy"]>,
  }),
  notStarted("drain_grace_ms", "INVALID_SIZE", "a grace that is too long", { drainGraceMs: 600_001 }),
  notStarted("oom_score_adj", "INVALID_SIZE", "a score below -1000", { oomScoreAdj: -1001 }),
  notStarted("umask", "INVALID_SIZE", "a umask with more than permissions", { umask: 0o1000 }),
  notStarted("cgroup", "CGROUP_UNKNOWN", "a cgroup that is not there", { containerId: "", cgroup: "none" }),
  notStarted("cgroup", "INVALID_ID", "a cgroup of its own in a container", { cgroup: "none" }),
  notStarted("cgroup", "INVALID_CGROUP", "a cgroup out of the zone's", { containerId: "", cgroup: "../agent" }),
  notStarted("container_id", "CONTAINER_UNKNOWN", "a container that is not there", { containerId: "none" }),
  notStarted("init", "CONTAINER_HAS_INIT", "a second init", { init: true }),
  notStarted("reaper", "INVALID_ID", "a reaper for what is no init", { reaper: true }),
  ...[
    { name: "an id that is none", reason: "INVALID_ID", id: "a/b" },
    { name: "an id that is taken", reason: "PROCESS_EXISTS", id: "main" },
  ].map(({ name, reason, id }) =>
    refused("Process.Start", ["ProcessSpec.id"], reason, name, (zone) =>
      zone.bridge.process_.start({ spec: shell("exit 0", { id }) }, zone.in()),
    ),
  ),
  refused("Process.Start", ["StartRequest.id"], "PROCESS_UNKNOWN", "a process that is not there", (zone) =>
    zone.bridge.process_.start({ id: "none" }, zone.in()),
  ),
  refused("Process.Start", ["StartRequest.id"], "PROCESS_NOT_CREATED", "one that runs already", (zone) =>
    zone.bridge.process_.start({ id: "main" }, zone.in()),
  ),
  refused("Process.Start", ["StartRequest.spec"], "INVALID_ID", "a spec for one that is there", (zone) =>
    zone.bridge.process_.start({ id: "main", spec: shell("exit 0") }, zone.in()),
  ),
  refused("Process.Start", [], "CONTAINER_PAUSED", "a container that is paused", (zone) =>
    zone.withContainer({ id: "paused" }, async (id) => {
      await zone.bridge.container.pause({ id }, zone.in());
      await zone.bridge.process_.start({ spec: shell("exit 0", { containerId: id }) }, zone.in());
    }),
  ),
  refused("Process.Start", [], "CONTAINER_NOT_RUNNING", "a container without its init", async (zone) => {
    await zone.bridge.container.create({ id: "still", rootfs: { blockSerial: "w0", fsType: "erofs" } }, zone.in());
    try {
      await zone.bridge.process_.start({ spec: shell("exit 0", { containerId: "still" }) }, zone.in());
    } finally {
      await zone.bridge.container.delete({ id: "still" }, zone.in());
    }
  }),
];
