import { existsSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { CgroupService, createClient, type zone } from "@zone/proto";
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

const state = async (id: string) => (await lab.agent.containers.get({ id })).container?.state;
const CREATED = 1;
const RUNNING = 2;
const PAUSED = 3;
const STOPPED = 4;

describe("the state of a container", () => {
  it("follows its init, also when the agent is restarted", async () => {
    const { containers, processes } = lab.agent;
    const made = await containers.create({ id: "life", rootfs: lab.rootfs });
    expect(made.container).toMatchObject({ id: "life", state: CREATED, oci: false });
    expect(await state("life")).toBe(CREATED);
    await processes.start({ spec: { id: "i1", containerId: "life", init: true, argv: words("sleep", "600") } });
    const { container } = await containers.get({ id: "life" });
    const { process } = await processes.get({ id: "i1" });
    expect(container).toMatchObject({ state: RUNNING, initProcessId: "i1", pid: process?.pid, oomKills: 0 });
    await lab.agent.killAgent();
    expect(await state("life")).toBe(RUNNING);
    await lab.agent.containers.kill({ id: "life" });
    expect((await lab.agent.processes.wait({ id: "i1" })).process?.exit).toMatchObject({ signal: 9, oomKilled: false });
    expect((await lab.agent.containers.get({ id: "life" })).container).toMatchObject({
      state: STOPPED,
      pid: 0,
      initProcessId: "",
    });
    await lab.agent.processes.delete({ id: "i1" });
    await lab.agent.killAgent();
    expect(await state("life")).toBe(STOPPED);
    await lab.agent.processes.start({ spec: { containerId: "life", init: true, argv: words("sleep", "600") } });
    expect(await state("life")).toBe(RUNNING);
  });

  it("is asked for by an id that there is", async () => {
    const { containers } = lab.agent;
    const unknown = { code: "NOT_FOUND", reason: "CONTAINER_UNKNOWN" };
    for (const call of [
      containers.get({ id: "none" }),
      containers.pause({ id: "none" }),
      containers.resume({ id: "none" }),
      containers.update({ id: "none" }),
      containers.stats({ id: "none" }),
      containers.kill({ id: "none" }),
      containers.delete({ id: "none", force: true }),
    ])
      await expect(call).rejects.toMatchObject(unknown);
  });
});

describe("Pause", () => {
  it("freezes all of a container until Resume, and lets nothing start in it", async () => {
    if (lab.cgroups === undefined) return;
    const { containers } = lab.agent;
    await lab.run("ice", {}, { argv: script("while :; do :; done") });
    const events = lab.agent.system.events({});
    const seen: zone.agent.v1.Event[] = [];
    events.on("data", (event: zone.agent.v1.Event) => seen.push(event));
    events.on("error", () => {});
    await expect.poll(() => seen.length).toBe(1);
    await containers.pause({ id: "ice" });
    expect(readFileSync(join(lab.cgroups, "ice/cgroup.events"), "latin1")).toContain("frozen 1");
    expect(await state("ice")).toBe(PAUSED);
    await expect(containers.pause({ id: "ice" })).rejects.toMatchObject({
      code: "FAILED_PRECONDITION",
      reason: "CONTAINER_PAUSED",
    });
    await expect(
      lab.agent.processes.start({ spec: { containerId: "ice", argv: words("true") } }),
    ).rejects.toMatchObject({
      ...{ code: "FAILED_PRECONDITION", reason: "CONTAINER_PAUSED" },
    });
    const attached = await lab.agent.exec({ spec: { containerId: "ice", argv: words("true") } }).result;
    expect(attached.failed).toMatchObject({ reason: "CONTAINER_PAUSED" });
    await containers.resume({ id: "ice" });
    expect(await state("ice")).toBe(RUNNING);
    expect(readFileSync(join(lab.cgroups, "ice/cgroup.events"), "latin1")).toContain("frozen 0");
    expect(await lab.sh("ice", "echo runs")).toBe("runs\n");
    await expect(containers.resume({ id: "ice" })).rejects.toMatchObject({ reason: "CONTAINER_NOT_PAUSED" });
    await expect.poll(() => seen.map(({ kind }) => kind)).toContain("containerResumed");
    expect(
      seen.filter(({ containerPaused }) => containerPaused).map(({ containerPaused }) => containerPaused?.id),
    ).toEqual(["ice"]);
    events.cancel();
    // A paused container can be killed.
    await containers.pause({ id: "ice" });
    await lab.agent.killAgent();
    expect(await state("ice")).toBe(PAUSED);
    await lab.clean("ice");
  });

  it("needs a container that runs", async () => {
    await lab.agent.containers.create({ id: "idle", rootfs: lab.rootfs });
    await expect(lab.agent.containers.pause({ id: "idle" })).rejects.toMatchObject({ reason: "CONTAINER_NOT_RUNNING" });
    await expect(lab.agent.containers.kill({ id: "idle" })).rejects.toMatchObject({ reason: "CONTAINER_NOT_RUNNING" });
  });
});

describe("a frozen cgroup", () => {
  it("lets no init start in it, and is deleted by force", async () => {
    if (lab.cgroups === undefined) return;
    const { containers, processes } = lab.agent;
    const cgroups = createClient(CgroupService, lab.agent.session.client);
    await containers.create({ id: "cold", rootfs: lab.rootfs });
    const init = { containerId: "cold", init: true, argv: words("sleep", "600") };
    await cgroups.freeze({ path: "cold" });
    await expect(processes.start({ spec: init })).rejects.toMatchObject({ reason: "CONTAINER_PAUSED" });
    await cgroups.thaw({ path: "cold" });
    await processes.start({ spec: { ...init, id: "cold-init" } });
    await cgroups.freeze({ path: "cold" });
    await lab.clean("cold");
  });

  it("lets no process of the zone start in it, nor below it", async () => {
    if (lab.cgroups === undefined) return;
    const cgroups = createClient(CgroupService, lab.agent.session.client);
    await cgroups.create({ path: "ice/cube" });
    await cgroups.freeze({ path: "ice" });
    for (const cgroup of ["ice", "ice/cube"])
      await expect(
        lab.agent.processes.start({ spec: { argv: [Buffer.from("/bin/true")], cgroup } }),
      ).rejects.toMatchObject({ code: "FAILED_PRECONDITION", reason: "CGROUP_BUSY" });
    for (const path of ["ice/cube", "ice"]) await cgroups.delete({ path });
  });
});

describe("an agent that comes back", () => {
  it("has survived the end of an init that has filled its container, and knows of it", async () => {
    await lab.run("full", { rootfs: { ...lab.rootfs, writableBytes: 1 << 20 } });
    const { agentPid } = lab.agent;
    await lab.sh("full", "dd if=/dev/zero of=/x bs=4096 2>/dev/null; i=0; while echo > /f$i; do i=$((i+1)); done");
    await lab.agent.containers.kill({ id: "full" });
    await lab.agent.processes.wait({ id: "full-init" });
    expect(lab.agent.agentPid).toBe(agentPid);
    await lab.agent.processes.delete({ id: "full-init" });
    await lab.agent.killAgent();
    expect(await state("full")).toBe(STOPPED);
  });

  it("makes a container's cgroup again that somebody has removed, with its device policy", async () => {
    if (lab.cgroups === undefined) return;
    await lab.agent.containers.create({ id: "lost", rootfs: lab.rootfs });
    rmdirSync(join(lab.cgroups, "lost"));
    await lab.agent.killAgent();
    await lab.agent.processes.start({ spec: { containerId: "lost", init: true, argv: words("sleep", "600") } });
    expect(await lab.sh("lost", "cat /sys/fs/cgroup/cgroup.procs | wc -l")).not.toBe("0\n");
    expect(readFileSync(join(lab.cgroups, "lost/cgroup.procs"), "latin1")).not.toBe("");
    const opened = await lab.sh("lost", "mknod /dev/k c 1 11 && cat /dev/k 2>&1 | head -c 60");
    expect(opened).toContain("Operation not permitted");
  });

  it("removes a container that cannot be read, and keeps the others", async () => {
    const { containers } = lab.agent;
    for (const id of ["bad", "good"]) await containers.create({ id, rootfs: lab.rootfs });
    writeFileSync(`/proc/${lab.agent.agentPid}/root${lab.agent.directory}/run/containers/bad/state.json`, "{");
    await lab.agent.killAgent();
    const { containers: left } = await lab.agent.containers.list({});
    expect(left?.map(({ id }) => id)).toEqual(["good"]);
    await lab.agent.containers.create({ id: "bad", rootfs: lab.rootfs });
  });
});

describe("Kill", () => {
  it("signals the init, or all that is in the container", async () => {
    const { containers, processes } = lab.agent;
    const loop = "echo ready; while :; do sleep 0.05; done";
    await lab.run("sig", {}, { argv: script(`trap 'echo got' USR1; trap 'exit 4' TERM; ${loop}`) });
    const init = lab.agent.exec({ processId: "sig-init" });
    await init.untilOutput("ready");
    const other = lab.agent.exec({
      spec: { containerId: "sig", argv: script(`trap 'echo other; exit 5' USR1; ${loop}`) },
    });
    await other.untilOutput("ready");
    await containers.kill({ id: "sig", signal: 10, all: lab.cgroups !== undefined });
    await init.untilOutput("got");
    if (lab.cgroups !== undefined) expect((await other.result).stdout.toString()).toBe("ready\nother\n");
    await containers.kill({ id: "sig", signal: 15 });
    expect((await processes.wait({ id: "sig-init" })).process?.exit).toMatchObject({ code: 4 });
    await expect(containers.kill({ id: "sig" })).rejects.toMatchObject({ reason: "CONTAINER_NOT_RUNNING" });
    await lab.run("all");
    await expect(containers.kill({ id: "all", signal: 65 })).rejects.toMatchObject({ reason: "INVALID_SIGNAL" });
    await containers.kill({ id: "all", all: true });
    expect((await processes.wait({ id: "all-init" })).process?.exit).toMatchObject({ signal: 9 });
  });
});

describe("Delete", () => {
  it("with force ends what runs, also what was never started", async () => {
    await lab.run("busy");
    await expect(lab.agent.containers.delete({ id: "busy" })).rejects.toMatchObject({ reason: "CONTAINER_RUNNING" });
    await lab.agent.containers.delete({ id: "busy", force: true });
    expect((await lab.agent.processes.wait({ id: "busy-init" })).process?.exit).toMatchObject({ signal: 9 });
    await lab.agent.processes.delete({ id: "busy-init" });
    if (lab.cgroups !== undefined) expect(existsSync(join(lab.cgroups, "busy"))).toBe(false);
    await lab.agent.containers.create({ id: "held", rootfs: lab.rootfs });
    await lab.agent.processes.start({
      spec: { id: "held-init", containerId: "held", init: true, argv: words("true") },
      hold: true,
    });
    await expect(lab.agent.containers.delete({ id: "held" })).rejects.toMatchObject({ reason: "CONTAINER_RUNNING" });
    await lab.agent.containers.delete({ id: "held", force: true });
    expect((await lab.agent.processes.wait({ id: "held-init" })).process?.failure).toMatchObject({
      reason: "CONTAINER_UNKNOWN",
    });
    await lab.agent.processes.delete({ id: "held-init" });
  });
});

describe("limits", () => {
  it("are set, told, changed, and refused as a whole", async () => {
    if (lab.cgroups === undefined) return;
    const available = readFileSync(join(lab.cgroups, "cgroup.subtree_control"), "latin1");
    const { containers } = lab.agent;
    if (!available.includes("pids")) {
      // This host has given cgroup2 no such controller: the zone tests have all of them.
      const refused = containers.create({ id: "lim", rootfs: lab.rootfs, limits: { pids: 20 } });
      await expect(refused).rejects.toMatchObject({ reason: "CONTROLLER_MISSING" });
      expect(existsSync(join(lab.cgroups, "lim"))).toBe(false);
      await lab.run("lim");
      await expect(containers.update({ id: "lim", limits: { pids: 20 } })).rejects.toMatchObject({
        reason: "CONTROLLER_MISSING",
      });
      expect((await containers.update({ id: "lim", limits: {} })).limits).toBeDefined();
      return;
    }
    await lab.run("lim", { limits: { pids: 20 } });
    expect((await containers.get({ id: "lim" })).container?.limits).toMatchObject({ pids: 20 });
    expect((await containers.update({ id: "lim", limits: { pids: 30 } })).limits).toMatchObject({ pids: 30 });
  });

  it("that are none make no container", async () => {
    const refused = lab.agent.containers.create({ id: "bad", rootfs: lab.rootfs, limits: { cpusetCpus: "x" } });
    await expect(refused).rejects.toMatchObject({ code: "INVALID_ARGUMENT", reason: "INVALID_LIMIT" });
    expect((await lab.agent.containers.list({})).containers ?? []).toEqual([]);
  });
});

it("Stats tell of the cgroup and of the writable layer", async () => {
  if (lab.cgroups === undefined) return;
  await lab.run("stat", { rootfs: { ...lab.rootfs, writableBytes: 8 << 20 } });
  await lab.sh("stat", "dd if=/dev/zero of=/x bs=1024 count=2048 2>/dev/null");
  const stats = await lab.agent.containers.stats({ id: "stat" });
  expect(stats.cgroup?.path).toBe("stat");
  expect(Number(stats.writableTotalBytes)).toBe(8 << 20);
  expect(Number(stats.writableUsedBytes)).toBeGreaterThanOrEqual(2 << 20);
  expect(Number(stats.writableUsedBytes)).toBeLessThan(3 << 20);
  await lab.run("ro", { rootfs: { ...lab.rootfs, readOnly: true } });
  expect(await lab.agent.containers.stats({ id: "ro" })).toMatchObject({ writableUsedBytes: 0, writableTotalBytes: 0 });
});

describe("a process of the zone itself", () => {
  const own = "/bin/cat";
  const argv = [own, "/proc/self/cgroup"].map((word) => Buffer.from(word));

  it("starts in the zone's cgroup, or in one that it names", async () => {
    if (lab.cgroups === undefined) return;
    const plain = await lab.agent.exec({ spec: { argv } }).result;
    expect(plain.stdout.toString()).toMatch(/^0::\/zone-lab-[0-9-]+\/\.zone$/m);
    const cgroups = createClient(CgroupService, lab.agent.session.client);
    await cgroups.create({ path: "web/workers" });
    const named = await lab.agent.exec({ spec: { argv, cgroup: "web/workers" } }).result;
    expect(named.stdout.toString()).toMatch(/^0::\/zone-lab-[0-9-]+\/web\/workers$/m);
    expect((await cgroups.list({})).cgroups?.map(({ path }) => path)).toEqual(["web", "web/workers"]);
    for (const path of ["web/workers", "web"]) await cgroups.delete({ path });
  });

  it("cannot be in one that there is not", async () => {
    const refused = await lab.agent.exec({ spec: { argv, cgroup: "none" } }).result;
    expect(refused.failed).toMatchObject({ reason: "CGROUP_UNKNOWN" });
    await expect(lab.agent.processes.start({ spec: { argv, cgroup: "../x" } })).rejects.toMatchObject({
      reason: "INVALID_CGROUP",
    });
    const both = lab.agent.processes.start({ spec: { argv, cgroup: "a", containerId: "b" } });
    await expect(both).rejects.toMatchObject({ reason: "INVALID_ID" });
  });
});
